//! Stacks as Debian and RHEL ship them, with the lines and without, and stacks that nobody ships.

use proptest::prelude::*;

use super::*;

const DEBIAN: [(&str, &str); 6] = [
    ("sudo", include_str!("stacks/debian-sudo")),
    ("sudo-i", include_str!("stacks/debian-sudo-i")),
    ("su", include_str!("stacks/debian-su")),
    ("su-l", include_str!("stacks/debian-su-l")),
    ("doas", include_str!("stacks/debian-doas")),
    ("runuser-l", include_str!("stacks/debian-runuser-l")),
];
const RHEL: [(&str, &str); 5] = [
    ("sudo", include_str!("stacks/rhel-sudo")),
    ("sudo-i", include_str!("stacks/rhel-sudo-i")),
    ("su", include_str!("stacks/rhel-su")),
    ("su-l", include_str!("stacks/rhel-su-l")),
    ("runuser-l", include_str!("stacks/rhel-runuser-l")),
];
const ACCOUNT: &str = "account  [success=ok default=die]  pam_jit.so gate  # added by jitctl pam enable\n";
const SESSION: &str = "session  [success=ok default=die]  pam_jit.so gate  # added by jitctl pam enable\n";
const TRACK: &str = "session  [success=ok default=die]  pam_jit.so track  # added by jitctl pam enable\n";

fn gated(text: &str) -> String {
    with_lines(text, Lines::Gate).unwrap()
}

/// What libpam runs of a stage, in order, without what is included.
fn stage_of(text: &str, stage: Stage) -> Vec<String> {
    let all = entries(text);
    let of_stage = all.iter().filter(|entry| entry.read().is_some_and(|line| line.is_of(stage)));
    of_stage.map(|entry| entry.code.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn observing_is_put_on_every_line_and_taken_off_again() {
    let enforced = with_lines(DEBIAN[0].1, Lines::Gate).unwrap();
    assert!(!says_observe(&enforced));
    let observed = with_lines_that_observe(&enforced, Lines::Gate, true).unwrap();
    assert_eq!(observed.matches(" observe").count(), 3, "{observed}");
    assert!(says_observe(&observed));
    assert_eq!(with_lines(&observed, Lines::Gate).unwrap(), observed, "what observes goes on with it");
    assert_eq!(with_lines_that_observe(&observed, Lines::Gate, true).unwrap(), observed);
    assert_eq!(with_lines_that_observe(&observed, Lines::Gate, false).unwrap(), enforced);
    assert_eq!(without_lines(&observed), DEBIAN[0].1);
    let with_option = enforced.replace("pam_jit.so gate", "pam_jit.so gate bus=system");
    let both = with_lines_that_observe(&with_option, Lines::Gate, true).unwrap();
    assert!(both.contains("pam_jit.so gate bus=system observe"), "{both}");
}

#[test]
fn nothing_can_decide_before_the_gate_in_any_stack_that_is_shipped() {
    for (service, text) in DEBIAN.into_iter().chain(RHEL) {
        let lines = Lines::of(service).unwrap();
        let made = with_lines(text, lines).unwrap();
        let [account, session] = [Stage::Account, Stage::Session].map(|stage| stage_of(&made, stage));
        assert!(session.last().unwrap().contains("pam_jit.so track"), "{service}: {made}");
        if lines == Lines::Gate {
            for first in [&account[0], &session[0]] {
                assert!(first.ends_with("[success=ok default=die] pam_jit.so gate"), "{service}: {made}");
            }
        } else {
            assert!(!made.contains("gate"), "{service}: {made}");
        }
        assert_eq!(without_lines(&made), text, "{service}");
        assert_eq!(with_lines(&made, lines).unwrap(), made, "{service}");
        let added: Vec<&str> = made.lines().filter(|line| !text.lines().any(|old| old == *line)).collect();
        assert_eq!(added.len(), if lines == Lines::Gate { 3 } else { 1 }, "{service}: {added:?}");
        assert!(added.iter().all(|line| line.ends_with(MARK)), "{service}: {added:?}");
    }
}

#[test]
fn the_lines_stand_where_the_examples_of_the_package_have_them() {
    let made = gated(DEBIAN[0].1);
    let expected =
        format!("#%PAM-1.0\n\n{ACCOUNT}{SESSION}# Set up user limits from /etc/security/limits.conf.\n");
    assert!(made.starts_with(&expected), "{made}");
    assert!(made.ends_with(&format!("@include common-session-noninteractive\n{TRACK}")), "{made}");
    let made = gated(RHEL[2].1);
    let expected =
        format!("auth\t\tinclude\t\tpostlogin\n{ACCOUNT}{SESSION}account\t\tsufficient\tpam_succeed_if.so");
    assert!(made.contains(&expected), "{made}");
    assert!(made.ends_with(&format!("pam_xauth.so\n{TRACK}")), "{made}");
}

#[test]
fn a_jump_or_an_include_above_a_gate_is_put_below_it() {
    for first in [
        "account sufficient pam_permit.so",
        "account [success=2 default=ignore] pam_unix.so",
        "account [new_authtok_reqd=done default=bad] pam_unix.so",
        "ACCOUNT SUFFICIENT pam_permit.so",
        "-account optional pam_x.so",
        "@include common-account",
        "account substack system-auth",
    ] {
        let wrong = format!("{first}\n{ACCOUNT}{SESSION}session required pam_unix.so\n{TRACK}");
        let made = gated(&wrong);
        assert_eq!(
            made,
            format!("{ACCOUNT}{SESSION}{first}\nsession required pam_unix.so\n{TRACK}"),
            "{first}"
        );
    }
}

#[test]
fn lines_that_do_not_deny_are_written_anew_and_keep_their_options() {
    let rest = "@include common-account\nsession required pam_unix.so\n";
    for (account, session, track) in [
        ("account optional pam_jit.so gate timeout=5s", "session required pam_jit.so gate", TRACK),
        ("-account [success=ok default=die] pam_jit.so gate timeout=5s", SESSION.trim(), TRACK),
        ("account sufficient /lib/security/pam_jit.so timeout=5s gate", SESSION.trim(), ""),
        ("account [success=ok default=ignore] pam_jit.so timeout=5s", SESSION.trim(), TRACK),
        (
            "account requisite pam_jit.so gate timeout=5s",
            SESSION.trim(),
            "session sufficient pam_jit.so track\n",
        ),
    ] {
        let made = gated(&format!("{account}\n{session}\n{rest}{track}"));
        let with = |line: &str| line.replace("  # added", " timeout=5s  # added");
        assert_eq!(made, format!("{}{}{rest}{}", with(ACCOUNT), with(SESSION), with(TRACK)), "{account}");
        assert_eq!(without_lines(&made), rest);
    }
}

#[test]
fn lines_that_somebody_wrote_and_that_are_right_stay_as_they_are() {
    let text = "#%PAM-1.0\naccount requisite pam_jit.so gate\nsession required \\\n pam_jit.so gate tag=no\n\
        @include common-account\nsession required pam_jit.so track\n";
    assert_eq!(gated(text), text);
    assert_eq!(with_lines(text, Lines::Track).unwrap(), text);
    assert_eq!(without_lines(text), "#%PAM-1.0\n@include common-account\n");
    let tracked = "@include common-session\nsession optional pam_jit.so track\n";
    assert_eq!(with_lines(tracked, Lines::Track).unwrap(), tracked);
    assert!(gated(tracked).starts_with(ACCOUNT), "the gate comes to what was tracked only");
}

#[test]
fn a_line_of_ours_that_libpam_does_not_understand_goes_too() {
    assert_eq!(without_lines("account pam_jit.so gate\naccount a b.so\n"), "account a b.so\n");
    assert_eq!(
        without_lines("# pam_jit.so\naccount a pam_jit.so.bak\n"),
        "# pam_jit.so\naccount a pam_jit.so.bak\n"
    );
    assert!(!has_lines("# account required pam_jit.so gate\n") && has_lines("account x /a/pam_jit.so\r\n"));
}

#[test]
fn a_file_that_every_libpam_reads_its_own_way_is_not_edited() {
    for text in [
        "account required \\\n\npam_unix.so\n",
        "session a b.so\naccount required \\\n# x\n y\n",
        "auth a b \\",
    ] {
        let line = with_lines(text, Lines::Gate).unwrap_err().line;
        assert!(with_lines(text, Lines::Track).is_err());
        assert!(text.lines().nth(usize::try_from(line).unwrap() - 1).unwrap().ends_with('\\'), "{text}");
    }
}

#[test]
fn a_file_that_goes_by_another_is_told_with_its_name() {
    for (text, by) in [(DEBIAN[3].1, Some("su")), (RHEL[1].1, Some("sudo")), (RHEL[0].1, Some("system-auth"))]
    {
        assert_eq!(goes_by(text).as_deref(), by);
    }
    assert_eq!(goes_by(DEBIAN[0].1), None);
    assert_eq!(goes_by(&gated(DEBIAN[3].1)), None, "its own gate decides");
}

/// Lines of every kind that a file may have, and none.
fn a_line() -> impl Strategy<Value = String> {
    let word = |words: &'static [&'static str]| proptest::sample::select(words);
    let module = (
        word(&["auth", "account", "-account", "session", "-session", "password", "Account", "nonsense"]),
        word(&[
            "required",
            "sufficient",
            "optional",
            "[success=1 default=ignore]",
            "include",
            "substack",
            "[x",
        ]),
        word(&["pam_unix.so", "common-session", "pam_jit.so.old", "\\\n  pam_env.so"]),
        word(&["", " x", " \t# comment \\", " # pam_jit.so", "\r"]),
    );
    prop_oneof![
        module.prop_map(|(stage, control, path, end)| format!("{stage}  {control}\t{path}{end}")),
        word(&["", " ", "#", "#%PAM-1.0", "# c \\", "@include common-account", "@include", "account", "\r"])
            .prop_map(str::to_owned),
        "[ -~]{0,12}".prop_filter("not ours", |line| !line.contains("pam_jit")),
    ]
}

proptest! {
    #[test]
    fn in_and_out_again_is_the_same_bytes_and_twice_is_once(
        lines in proptest::collection::vec(a_line(), 0..12),
        ends in any::<bool>(),
        crlf in any::<bool>(),
    ) {
        let mut text = lines.join(if crlf { "\r\n" } else { "\n" });
        if ends && !text.is_empty() {
            text.push('\n');
        }
        for lines in [Lines::Gate, Lines::Track] {
            prop_assert_eq!(without_lines(&text), text.as_str());
            let Ok(made) = with_lines(&text, lines) else {
                prop_assert!(entries(&text).iter().any(|entry| !entry.clear));
                continue;
            };
            prop_assert!(has_lines(&made));
            prop_assert_eq!(without_lines(&made), text.as_str());
            prop_assert_eq!(with_lines(&made, lines).unwrap(), made.as_str());
            let session = stage_of(&made, Stage::Session);
            prop_assert!(session.last().unwrap().contains("pam_jit.so track"));
            if lines == Lines::Gate {
                prop_assert!(session[0].contains("pam_jit.so gate"));
                prop_assert!(stage_of(&made, Stage::Account)[0].contains("pam_jit.so gate"));
            }
        }
    }

    #[test]
    fn whatever_of_ours_a_file_has_it_asks_afterwards_and_loses_nothing_else(
        lines in proptest::collection::vec(prop_oneof![
            a_line(),
            proptest::sample::select(vec![
                "account required pam_jit.so gate", "account optional pam_jit.so", "session x pam_jit.so track debug",
                "-session required \\\n pam_jit.so gate", "account pam_jit.so", "auth required pam_jit.so gate",
            ]).prop_map(str::to_owned),
        ], 0..10),
    ) {
        let text = lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        prop_assert!(!has_lines(&without_lines(&text)));
        if let Ok(made) = with_lines(&text, Lines::Gate) {
            prop_assert_eq!(without_lines(&made), without_lines(&text));
            prop_assert_eq!(with_lines(&made, Lines::Gate).unwrap(), made.as_str());
            prop_assert!(stage_of(&made, Stage::Account)[0].contains("pam_jit.so gate"));
        }
    }
}

#[test]
fn pkexec_gets_its_gate_in_the_session_alone() {
    let debian = "#%PAM-1.0\n\n@include common-auth\n@include common-account\n@include common-password\n\
        session required pam_env.so readenv=1 user_readenv=0\n@include common-session-noninteractive\n";
    let edited = with_lines(debian, Lines::Enter).unwrap();
    let own: Vec<&str> = edited.lines().filter(|line| line.contains("pam_jit.so")).collect();
    assert_eq!(own.len(), 2, "{edited}");
    assert!(own[0].starts_with("session  [success=ok default=die]  pam_jit.so gate enter"), "{edited}");
    assert!(own[1].starts_with("session  [success=ok default=die]  pam_jit.so track"), "{edited}");
    let at = |part: &str| edited.find(part).unwrap();
    assert!(at("gate enter") < at("@include common-auth") && at("track") > at("common-session"), "{edited}");
    assert_eq!(with_lines(&edited, Lines::Enter).unwrap(), edited);
    assert_eq!(without_lines(&edited), debian);
    // A gate that does not enter would find no account stage before it, and deny everybody.
    let without_enter = edited.replace(" enter", "");
    assert_eq!(with_lines(&without_enter, Lines::Enter).unwrap(), edited);
}
