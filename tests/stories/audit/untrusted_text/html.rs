//! Reads an HTML page that may hold text and nothing that runs, and returns that text.

use anyhow::{Context, Result, bail, ensure};

/// The elements of a report.
const ELEMENTS: [&str; 43] = [
    "html",
    "head",
    "meta",
    "title",
    "style",
    "body",
    "main",
    "header",
    "footer",
    "section",
    "article",
    "nav",
    "a",
    "details",
    "summary",
    "h1",
    "h2",
    "h3",
    "p",
    "div",
    "span",
    "b",
    "i",
    "br",
    "code",
    "ul",
    "li",
    "dl",
    "dt",
    "dd",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
    "figure",
    "figcaption",
    "svg",
    "g",
    "rect",
    "line",
    "text",
];
/// Those that have no end.
const VOID: [&str; 2] = ["meta", "br"];
const ATTRIBUTES: [&str; 26] = [
    "lang",
    "charset",
    "http-equiv",
    "content",
    "name",
    "class",
    "style",
    "id",
    "href",
    "open",
    "data-event",
    "data-figure",
    "data-grant",
    "viewBox",
    "role",
    "aria-label",
    "text-anchor",
    "x",
    "y",
    "x1",
    "x2",
    "y1",
    "y2",
    "rx",
    "width",
    "height",
];

/// The text between the elements, one line each.
pub(super) fn text_of(page: &str) -> Result<Vec<String>> {
    let mut rest = page.strip_prefix("<!DOCTYPE html>").context("no DOCTYPE")?;
    let mut open: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        texts.push(decoded(text)?);
        let end = tag.find('>').context("an element without an end")?;
        let (tag, behind) = (&tag[1..end], &tag[end + 1..]);
        rest = behind;
        if let Some(name) = tag.strip_prefix('/') {
            ensure!(open.pop() == Some(name), "</{name}> ends another element; open: {open:?}");
            continue;
        }
        let is_closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        ensure!(ELEMENTS.contains(&name), "an element <{name}>");
        check(attributes).with_context(|| tag.to_owned())?;
        if is_closed || VOID.contains(&name) {
            continue;
        }
        open.push(name);
        if name == "style" {
            let end = rest.find("</style>").context("no end of <style>")?;
            ensure!(
                !rest[..end].contains(['<', '@']) || !rest[..end].contains("@import"),
                "a style that fetches"
            );
            rest = &rest[end..];
        }
    }
    ensure!(open.is_empty() && rest.trim().is_empty(), "open at the end: {open:?}; {rest:?}");
    texts.retain(|text| !text.trim().is_empty());
    Ok(texts)
}

/// `name="value"`, with one space between them.
fn check(attributes: &str) -> Result<()> {
    let mut rest = attributes.trim_end();
    while !rest.is_empty() {
        let (name, value) = rest.split_once("=\"").context("an attribute without a quoted value")?;
        ensure!(ATTRIBUTES.contains(&name), "an attribute {name:?}");
        let (value, behind) = value.split_once('"').context("a value without an end")?;
        ensure!(!value.contains(['<', '>']), "a value {value:?}");
        ensure!(name != "style" || !value.contains("url"), "a style that fetches: {value:?}");
        let is_id = |id: &str| id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        ensure!(name != "id" || is_id(value), "an id {value:?}");
        let within = value.strip_prefix('#').is_some_and(is_id);
        ensure!(name != "href" || within, "a link that leads out of the page: {value:?}");
        decoded(value)?;
        rest = match behind.strip_prefix(' ') {
            Some(next) => next,
            None if behind.is_empty() => behind,
            None => bail!("{behind:?} behind a value"),
        };
    }
    Ok(())
}

/// Text with its character references resolved; any that the report does not need is refused.
fn decoded(text: &str) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, reference)) = rest.split_once('&') {
        out.push_str(before);
        let (name, behind) = reference.split_once(';').context("an ampersand")?;
        out.push(match name {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            _ => bail!("a character reference &{name};"),
        });
        rest = behind;
    }
    out.push_str(rest);
    Ok(out)
}

#[test]
fn what_runs_or_is_not_closed_is_not_read() {
    let page = |inside: &str| format!("<!DOCTYPE html><html><p class=\"a\">{inside}</p></html>");
    assert_eq!(text_of(&page("a &lt;b&gt;")).unwrap(), ["a <b>"]);
    for bad in [
        "<script>alert(1)</script>",
        "<b onclick=\"x\">a</b>",
        "<b class=x>a</b>",
        "<b class='x'>a</b>",
        "<b>a",
        "a & b",
        "&copy;",
        "<img src=\"x\">",
        "<a href=\"javascript:alert(1)\">a</a>",
        "<a href=\"https://example.org\">a</a>",
        "<b id=\"a b\">a</b>",
    ] {
        assert!(text_of(&page(bad)).is_err(), "{bad}");
    }
}
