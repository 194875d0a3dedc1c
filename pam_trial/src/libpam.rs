//! A transaction of libpam (pam_start_confdir(3), pam_conv(3)) whose conversation collects what modules say and answers
//! no question.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;
use std::str::FromStr;

const PAM_SUCCESS: c_int = 0;
const PAM_BUF_ERR: c_int = 5;
const PAM_CONV_ERR: c_int = 19;
/// Styles of messages that want no answer (pam_conv(3)).
const PAM_ERROR_MSG: c_int = 3;
const PAM_TEXT_INFO: c_int = 4;
const PAM_RUSER: c_int = 8;
const PAM_ESTABLISH_CRED: c_int = 2;
const PAM_DELETE_CRED: c_int = 4;
/// Most messages that one call of the conversation may bring (`PAM_MAX_NUM_MSG`).
const MAX_MESSAGES: c_int = 32;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    call: extern "C" fn(c_int, *mut *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

/// `pam_handle_t`, which is libpam's alone.
#[repr(C)]
struct Handle {
    _private: [u8; 0],
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        folder: *const c_char,
        handle: *mut *mut Handle,
    ) -> c_int;
    fn pam_set_item(handle: *mut Handle, item: c_int, value: *const c_void) -> c_int;
    fn pam_acct_mgmt(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_open_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut Handle, flags: c_int) -> c_int;
    fn pam_end(handle: *mut Handle, status: c_int) -> c_int;
    fn pam_strerror(handle: *mut Handle, code: c_int) -> *const c_char;
}

/// What can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// pam_acct_mgmt(3).
    Account,
    /// pam_setcred(3), pam_open_session(3), and both undone.
    Session,
}

impl FromStr for Stage {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "account" => Ok(Self::Account),
            "session" => Ok(Self::Session),
            _ => Err(format!("{word:?} is no stage; write account or session")),
        }
    }
}

/// A transaction that runs.
pub(crate) struct Transaction {
    handle: *mut Handle,
    /// libpam copies it, but it holds the address of `said`.
    said: *mut Vec<String>,
    status: c_int,
}

impl Transaction {
    /// Begins one. Nothing of `/etc/pam.d` is read, only what is in the folder.
    pub(crate) fn start(folder: &CStr, service: &CStr, user: &CStr) -> Result<Self, String> {
        let said = Box::into_raw(Box::<Vec<String>>::default());
        let conversation = Conversation { call: converse, data: said.cast() };
        let mut handle = ptr::null_mut();
        // SAFETY: the three strings end in a zero byte and outlive the call; libpam copies the strings and the conversation
        // (pam_start(3)); `handle` is written once.
        let status = unsafe {
            pam_start_confdir(service.as_ptr(), user.as_ptr(), &conversation, folder.as_ptr(), &mut handle)
        };
        let transaction = Self { handle, said, status };
        if status != PAM_SUCCESS || handle.is_null() {
            return Err(format!("pam_start_confdir(3) failed with code {status}"));
        }
        // SAFETY: the handle is of pam_start_confdir; libpam copies the string (pam_set_item(3)).
        let set = unsafe { pam_set_item(handle, PAM_RUSER, user.as_ptr().cast()) };
        match set {
            PAM_SUCCESS => Ok(transaction),
            code => Err(format!("pam_set_item(3) failed with code {code}")),
        }
    }

    /// Runs a stage; whether it succeeded.
    pub(crate) fn run(&mut self, stage: Stage) -> bool {
        let handle = self.handle;
        // SAFETY, of each call below: the handle is the one of pam_start_confdir and pam_end was not called yet.
        match stage {
            // SAFETY: above.
            Stage::Account => self.note("account", unsafe { pam_acct_mgmt(handle, 0) }),
            Stage::Session => {
                // SAFETY: above.
                if !self.note("credentials", unsafe { pam_setcred(handle, PAM_ESTABLISH_CRED) }) {
                    return false;
                }
                // SAFETY: above.
                let opened = self.note("session", unsafe { pam_open_session(handle, 0) });
                if opened {
                    // SAFETY: above. Programs take no notice of what this answers.
                    unsafe { pam_close_session(handle, 0) };
                }
                // SAFETY: above.
                unsafe { pam_setcred(handle, PAM_DELETE_CRED) };
                opened
            }
        }
    }

    /// Ends it, and returns the lines to print.
    pub(crate) fn end(self) -> Vec<String> {
        // SAFETY: `said` is of Box::into_raw and stays until this transaction is dropped; no call of libpam runs now.
        std::mem::take(unsafe { &mut *self.said })
    }

    fn note(&mut self, stage: &str, code: c_int) -> bool {
        self.status = code;
        // SAFETY: the handle is valid; the text is libpam's own and constant (pam_strerror(3)), or null.
        let meaning = unsafe { text_of(pam_strerror(self.handle, code)) };
        // SAFETY: as in `end`.
        unsafe { &mut *self.said }.push(format!("{stage} {code} {meaning}"));
        code == PAM_SUCCESS
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: the handle is of pam_start_confdir and used no more.
            unsafe { pam_end(self.handle, self.status) };
        }
        // SAFETY: `said` is of Box::into_raw, and libpam, which knew it too, has ended.
        drop(unsafe { Box::from_raw(self.said) });
    }
}

/// Takes what modules say; a question is answered with an error.
extern "C" fn converse(
    count: c_int,
    messages: *mut *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    if !(1..=MAX_MESSAGES).contains(&count) || messages.is_null() || responses.is_null() || data.is_null() {
        return PAM_CONV_ERR;
    }
    let count = usize::try_from(count).unwrap_or_default();
    for at in 0..count {
        // SAFETY: Linux-PAM hands over an array of `count` pointers to messages (pam_conv(3)).
        let message = unsafe { (*messages.add(at)).as_ref() };
        let Some(message) = message.filter(|it| matches!(it.style, PAM_ERROR_MSG | PAM_TEXT_INFO)) else {
            return PAM_CONV_ERR;
        };
        // SAFETY: the text of a message ends in a zero byte or is null.
        let text = unsafe { text_of(message.text) };
        // SAFETY: `data` is the `said` of the transaction whose call this is, and nobody else holds a reference to it: `note`
        // and `end` take theirs between calls of libpam.
        unsafe { &mut *data.cast::<Vec<String>>() }.push(format!("message {}", one_line(&text)));
    }
    // SAFETY: no pointers are taken in; libpam frees the array with free(3).
    let answers = unsafe { libc::calloc(count, size_of::<Response>()) };
    if answers.is_null() {
        return PAM_BUF_ERR;
    }
    // SAFETY: `responses` was checked above, and is written once (pam_conv(3)).
    unsafe { *responses = answers.cast() };
    PAM_SUCCESS
}

/// # Safety
/// The pointer is null, or to a string that ends in a zero byte and stays while this runs.
unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

fn one_line(text: &str) -> String {
    text.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}
