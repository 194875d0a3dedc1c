//! Reads a syslog message as strictly as RFC 5424 section 6 is written; shares nothing with what writes ours.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};

/// A message of one structured data element.
#[derive(Debug)]
pub(super) struct Message {
    /// PRIVAL: facility times eight and severity.
    pub(super) priority: u16,
    pub(super) timestamp: String,
    pub(super) app_name: String,
    pub(super) msgid: String,
    pub(super) elements: Vec<Element>,
    pub(super) text: String,
}

/// SD-ELEMENT.
#[derive(Debug)]
pub(super) struct Element {
    pub(super) id: String,
    pub(super) params: Vec<(String, String)>,
}

impl Element {
    /// The value of a parameter that comes once.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.params.iter().filter(|(found, _)| found == name);
        let value = values.next()?;
        values.next().is_none().then_some(value.1.as_str())
    }
}

/// Reads a whole message.
pub(super) fn read(message: &str) -> Result<Message> {
    let rest = message.strip_prefix('<').context("no PRI")?;
    let (priority, rest) = rest.split_once('>').context("no end of PRI")?;
    let plain = priority == "0" || !priority.starts_with('0');
    ensure!(plain && priority.len() <= 3 && digits(priority), "PRIVAL {priority:?}");
    let priority: u16 = priority.parse()?;
    ensure!(priority <= 191, "PRIVAL {priority}");
    let mut rest = rest.strip_prefix("1 ").context("no VERSION 1")?;
    let mut header = |name: &str, most: usize| -> Result<String> {
        let (field, behind) = rest.split_once(' ').with_context(|| format!("no {name}"))?;
        rest = behind;
        let printable = field.bytes().all(|byte| (33..=126).contains(&byte));
        ensure!(printable && (1..=most).contains(&field.len()), "{name} {field:?}");
        Ok(field.to_owned())
    };
    let timestamp = header("TIMESTAMP", 32)?;
    if timestamp != "-" {
        check_time(&timestamp).with_context(|| timestamp.clone())?;
    }
    header("HOSTNAME", 255)?;
    let app_name = header("APP-NAME", 48)?;
    header("PROCID", 128)?;
    let msgid = header("MSGID", 32)?;
    let (elements, rest) = elements(rest)?;
    let text = match rest.strip_prefix(' ') {
        Some(text) => text.strip_prefix('\u{feff}').unwrap_or(text),
        None => {
            ensure!(rest.is_empty(), "{rest:?} is neither structured data nor MSG");
            ""
        }
    };
    // "The syslog application SHOULD avoid octet values below 32" (6.4); ours shall.
    ensure!(!text.chars().any(char::is_control), "a control character in MSG {text:?}");
    Ok(Message { priority, timestamp, app_name, msgid, elements, text: text.to_owned() })
}

/// STRUCTURED-DATA, and what is behind it.
fn elements(data: &str) -> Result<(Vec<Element>, &str)> {
    if let Some(rest) = data.strip_prefix('-') {
        return Ok((Vec::new(), rest));
    }
    let mut elements: Vec<Element> = Vec::new();
    let mut rest = data;
    while let Some(inside) = rest.strip_prefix('[') {
        let end = inside.find([' ', ']']).context("an SD-ELEMENT without an end")?;
        let (id, mut inside) = inside.split_at(end);
        check_name(id)?;
        if let Some((_, number)) = id.split_once('@') {
            ensure!(!number.is_empty() && digits(number), "the enterprise number of SD-ID {id:?}");
        }
        ensure!(elements.iter().all(|element| element.id != id), "SD-ID {id:?} comes twice");
        let mut params = Vec::new();
        while let Some(param) = inside.strip_prefix(' ') {
            let (name, value) = param.split_once("=\"").context("no PARAM-VALUE")?;
            check_name(name)?;
            let (value, behind) = param_value(value).with_context(|| name.to_owned())?;
            params.push((name.to_owned(), value));
            inside = behind;
        }
        let names: BTreeSet<&str> = params.iter().map(|(name, _)| name.as_str()).collect();
        ensure!(names.len() == params.len(), "a parameter comes twice in {params:?}");
        elements.push(Element { id: id.to_owned(), params });
        rest = inside.strip_prefix(']').context("an SD-ELEMENT without an end")?;
    }
    ensure!(!elements.is_empty(), "no STRUCTURED-DATA");
    Ok((elements, rest))
}

/// SD-NAME.
fn check_name(name: &str) -> Result<()> {
    let fits = |byte: u8| (33..=126).contains(&byte) && !matches!(byte, b'=' | b']' | b'"');
    ensure!((1..=32).contains(&name.len()) && name.bytes().all(fits), "SD-NAME {name:?}");
    Ok(())
}

/// PARAM-VALUE up to the quote that ends it, and what is behind that.
fn param_value(text: &str) -> Result<(String, &str)> {
    let mut value = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Ok((value, &text[at + 1..])),
            '\\' => match chars.next() {
                Some((_, c @ ('"' | '\\' | ']'))) => value.push(c),
                other => bail!("a backslash before {other:?}"),
            },
            ']' => bail!("a bracket that is not escaped"),
            c if c.is_control() => bail!("a control character, {c:?}"),
            c => value.push(c),
        }
    }
    bail!("no end")
}

/// FULL-DATE "T" FULL-TIME.
fn check_time(time: &str) -> Result<()> {
    let number = |from: usize, to: usize| -> Result<u32> {
        let part = time.get(from..to).context("too short")?;
        ensure!(digits(part), "{part:?} is no number");
        Ok(part.parse()?)
    };
    for (at, mark) in [(4, "-"), (7, "-"), (10, "T"), (13, ":"), (16, ":")] {
        ensure!(time.get(at..at + 1) == Some(mark), "no {mark:?} at {at}");
    }
    number(0, 4)?;
    let (month, day) = (number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    ensure!((1..=12).contains(&month) && (1..=31).contains(&day), "no such day");
    ensure!(hour <= 23 && minute <= 59 && second <= 59, "no such time");
    let rest = time.get(19..).context("too short")?;
    let end = rest.find(['Z', '+', '-']).context("no TIME-OFFSET")?;
    let (fraction, offset) = rest.split_at(end);
    if let Some(fraction) = fraction.strip_prefix('.') {
        ensure!(digits(fraction) && (1..=6).contains(&fraction.len()), "TIME-SECFRAC {fraction:?}");
    } else {
        ensure!(fraction.is_empty(), "{fraction:?} behind the seconds");
    }
    let numeric = offset.len() == 6
        && offset.get(3..4) == Some(":")
        && offset.bytes().enumerate().all(|(at, byte)| matches!(at, 0 | 3) || byte.is_ascii_digit());
    ensure!(offset == "Z" || numeric, "TIME-OFFSET {offset:?}");
    Ok(())
}

fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn the_examples_of_the_rfc_are_read_and_what_is_forged_is_not() {
    let example = "<165>1 2003-10-11T22:14:15.003Z mymachine.example.com evntslog - ID47 [exampleSDID@32473 \
        iut=\"3\" eventSource=\"Appl\\\"i\\]c\\\\ation\" eventID=\"1011\"][examplePriority@32473 class=\"high\"] \u{feff}An entry";
    let message = read(example).unwrap();
    assert_eq!((message.priority, message.msgid.as_str(), message.text.as_str()), (165, "ID47", "An entry"));
    assert_eq!((message.app_name.as_str(), message.timestamp.len()), ("evntslog", 24));
    assert_eq!(message.elements[0].get("eventSource"), Some("Appl\"i]c\\ation"));
    assert_eq!(read("<34>1 2003-10-11T22:14:15-07:00 h su - ID47 - text").unwrap().elements.len(), 0);
    for forged in [
        "<192>1 - h a - m -",
        "<034>1 - h a - m -",
        "<34>1 2003-10-11T22:14:60Z h a - m -",
        "<34>1 2003-08-24T05:14:15.000000003-07:00 h a - m -",
        "<34>1 - h a - m [x@1 a=\"]\"]",
        "<34>1 - h a - m [x@1 a=\"\\n\"]",
        "<34>1 - h a - m [x@1 a=\"1\" a=\"2\"]",
        "<34>1 - h a - m [x@1 a=\"1\"][x@1 a=\"1\"]",
        "<34>1 - h a - m [x@1 a=\"1\"] b\n<34>1 - h a - m -",
        "<34>1 - h a - m [x@1 a=\"\x1b\"]",
        "<34>1 - h a - m [x@y a=\"1\"]",
        "<34>1 - h  - m -",
    ] {
        assert!(read(forged).is_err(), "{forged:?}");
    }
}
