//! A mistake in a command gets an answer that helps; the output fits the terminal.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::login::Login;
use jit_tests::people::{ALICE, BOB, CAROL, DAVE};
use jit_tests::plan::{Plan, Release};

const LIMIT: Duration = Duration::from_secs(20);

/// New York by its rule, as tzset(3) has it.
const NEW_YORK: &str = "TZ='EST5EDT,M3.2.0,M11.1.0'";

/// Every relative link of the documents that are installed, with whether its file is there.
const LINKS: &str = r#"
cd /usr/share/doc/jitd && find . -name '*.md' | while read -r file; do
  grep -o '](\([^)]*\))' "$file" | sed 's/^](//; s/)$//; s/#.*//' | grep -v -e '^[a-z]*:' -e '^$' | while read -r link; do
    [ -e "$(dirname "$file")/$link" ] && echo "there $file $link" || echo "DEAD $file $link"
  done
done
"#;

#[test]
fn mistakes_get_an_answer_that_helps() -> Result<()> {
    play(&Plan::new(Release::Trixie).named("web1"), |host| {
        host.root_sh("useradd --create-home --groups webops zoe")?.ok()?;
        what_is_missing_is_offered_or_asked_for(host)?;
        what_is_approved_is_shown_first(host)?;
        a_table_fits_and_goes_through_a_pager(host)?;
        times_name_their_offset_and_are_one_moment(host)?;
        a_name_that_the_record_does_not_know_is_said_to(host)?;
        what_was_shown_nowhere_is_shown(host)
    })
}

/// Says yes or something else to a question at a terminal.
fn answered(terminal: &mut Login, line: &str, answers: &[(&str, &str)]) -> Result<jit_tests::output::Output> {
    let typed = terminal.start(line)?;
    for (question, answer) in answers {
        terminal.expect(question, LIMIT)?;
        terminal.type_in(&format!("{answer}\n"))?;
    }
    terminal.finish(&typed, LIMIT)
}

fn what_is_missing_is_offered_or_asked_for(host: &Host) -> Result<()> {
    let mut alice = host.login(ALICE)?;
    alice.run("jitctl request")?.exits(2)?.says("the roles are:")?.says("web-admin")?;
    let reason = "--reason 'nginx is down'";
    alice.run(&format!("jitctl request webadmin {reason}"))?.exits(4)?.says("did you mean web-admin?")?;
    alice.run("jitctl request webadmin")?.exits(4)?.says("did you mean web-admin?")?;
    // Everything that is wrong, at once: said by jitd, and recorded.
    let asked = alice.run("jitctl request web-admin --for 1d --reason short --ticket BUG-1")?;
    asked.exits(3)?.says("not for 24h")?.says("at least 10 characters")?.says("matches ^INC-")?;
    host.record("command.refused", |record| {
        let detail = record["detail"].to_string();
        detail.contains("not for 24h") && detail.contains("10 characters") && detail.contains("INC-")
    })?;
    alice.run(&format!("jitctl request web-admin --for 30 {reason}"))?.exits(2)?.says("\"30m\"")?;
    // The hint of a refusal, as it stands: a script is told all that it has to fill in, a person is asked.
    let hint = "jitctl request web-admin --for 30m --reason \"...\" --ticket TICKET";
    alice.run(hint)?.exits(2)?.says("--reason is missing")?.says("--ticket is missing")?;
    let mut terminal = host.login_at_terminal(ALICE)?;
    let answers = [("why do you need the role?", "nginx is down"), ("Which ticket", "INC-42")];
    answered(&mut terminal, hint, &answers)?.ok()?.says("needs 1 approval")?;
    // A second one for the same role is said.
    let again = alice.run(&format!("jitctl request web-admin {reason} --ticket INC-42"))?;
    again.ok()?.says("you have an older pending request for web-admin: ")?;
    alice.run("jitctl cancel")?.exits(2)?.says("requests web-admin")?;
    host.login(BOB)?.run("jitctl approve")?.exits(2)?.says("alice (uid 2001) requests web-admin")?;
    host.login(BOB)?.run("jitctl deny")?.exits(2)?.says("alice (uid 2001) requests web-admin")?;
    host.login(DAVE)?.run("jitctl approve")?.exits(2)?.says("no pending request is yours to decide")?;
    let pending = host.jitctl(&["pending"])?;
    for request in pending.as_array().context("a list")? {
        alice.run(&format!("jitctl cancel {}", request["id"]))?.ok()?;
    }
    alice.run("jitctl help request")?.ok()?.says("--ticket")?;
    alice.run("jitctl list")?.ok()?.says("no request is pending, no grant is live")?;
    // Somebody who holds two grants is told which there are, and it is no "no such thing".
    let (first, second) = (host.grant(ALICE, "ops", "30m")?, host.grant(ALICE, "peers", "30m")?);
    let which = format!("name one of: {first}, {second}");
    alice.run("jitctl release")?.exits(2)?.says(&which)?.says("peers")?;
    alice.run("jitctl list")?.ok()?.says("live grants")?;
    host.root(&["jitctl", "revoke"])?.exits(2)?.says("the grants are:")?;
    host.root(&["jitctl", "revoke", "--all", "--reason", "a story"])?.ok()?;
    Ok(())
}

fn what_is_approved_is_shown_first(host: &Host) -> Result<()> {
    let mut dave = host.login(DAVE)?;
    let mut asked = || -> Result<String> {
        let asked =
            dave.run("jitctl --json request ops --for 10m --reason 'a look around' --ticket INC-7")?;
        Ok(asked.json()?["id"].to_string())
    };
    let (first, second) = (asked()?, asked()?);
    let state = |id: &str| host.jitctl(&["show", id]).map(|shown| shown["request"]["state"].clone());
    let mut bob = host.login_at_terminal(BOB)?;
    let typed = bob.start(&format!("jitctl approve {first}"))?;
    let shown = bob.expect("[y/N]", LIMIT)?;
    for part in ["dave (uid 2004) requests ops for 10m", "a look around", "INC-7"] {
        ensure!(shown.contains(part), "{part}: {shown}");
    }
    bob.type_in("\n")?;
    bob.finish(&typed, LIMIT)?.exits(1)?.says("you did not confirm")?;
    ensure!(state(&first)? == "pending", "it was approved without a yes");
    answered(&mut bob, &format!("jitctl approve {first}"), &[("[y/N]", "y")])?.ok()?;
    ensure!(state(&first)? == "approved", "a yes was not taken");
    bob.run(&format!("jitctl approve --yes {second}"))?.ok()?;
    // A script is not asked.
    let third = asked()?;
    let approved = host.login(BOB)?.run(&format!("jitctl approve {third}"))?;
    approved.ok()?.says("ops for dave")?.says("a look around")?;
    Ok(())
}

fn a_table_fits_and_goes_through_a_pager(host: &Host) -> Result<()> {
    let mut carol = host.login_at_terminal(CAROL)?;
    carol.run("stty cols 80 rows 24")?.ok()?;
    for line in ["jitctl grants", "jitctl roles"] {
        let table = carol.run(line)?;
        let table = table.ok()?;
        let plain = table.stdout.replace("\u{1b}[1m", "").replace("\u{1b}[0m", "");
        let wide = plain.lines().find(|line| line.chars().count() > 80);
        table.holds(wide.is_none(), "no line of more than 80 columns")?;
        table.says("not shown: ")?;
    }
    carol.run("jitctl grants")?.ok()?.says("dave")?.says("ENDS (+00:00)")?;
    carol.run("jitctl grants --full")?.ok()?.says("APPROVED BY")?.never_says("not shown")?;
    carol.run("export TERM=xterm PAGER='tee /var/tmp/paged'")?.ok()?;
    carol.run("jitctl roles")?.ok()?.says("web-admin")?;
    ensure!(host.read("/var/tmp/paged")?.contains("web-admin"), "the pager has not got it");
    for line in
        ["jitctl --json roles", "jitctl roles | cat", "PAGER=cat jitctl roles", "TERM=dumb jitctl roles"]
    {
        carol.run("rm -f /var/tmp/paged")?.ok()?;
        carol.run(line)?.ok()?.says("web-admin")?;
        ensure!(!host.has("/var/tmp/paged"), "{line} went through a pager");
    }
    // Debian has no less where nobody has installed it; what is to be read is printed all the same.
    carol.run("unset PAGER; jitctl roles")?.ok()?.says("web-admin")?;
    // How far a report is: on a terminal that can show it, and in no script.
    let report = "jitctl report --since '1h ago' --output report.html";
    carol.run(report)?.ok()?.says("reading record ")?.says("verifying the audit log")?;
    host.login(CAROL)?.run(report)?.ok()?.never_says("reading record")?;
    // Root runs nothing that a variable names.
    let mut root = host.login_at_terminal("root")?;
    root.run("TERM=xterm PAGER='tee /var/tmp/paged' jitctl roles")?.ok()?.says("web-admin")?;
    ensure!(!host.has("/var/tmp/paged"), "root ran $PAGER");
    Ok(())
}

fn times_name_their_offset_and_are_one_moment(host: &Host) -> Result<()> {
    let mut carol = host.login(CAROL)?;
    for verb in [
        "audit search --since",
        "audit search --until",
        "audit export --since",
        "audit export --until",
        "report --since",
    ] {
        let said = carol.run(&format!("{NEW_YORK} jitctl {verb} '2026-11-01 01:30'"))?;
        said.exits(2)?
            .says("is two moments")?
            .says("2026-11-01T01:30:00-04:00 or 2026-11-01T01:30:00-05:00")?;
        let said = carol.run(&format!("{NEW_YORK} jitctl {verb} '2026-03-08 02:30'"))?;
        said.exits(2)?.says("does not exist")?.says("write 2026-03-08T01:30:00-05:00 or ")?;
    }
    carol.run(&format!("{NEW_YORK} jitctl audit export --since 2026-11-01T01:30:00-04:00"))?.ok()?;
    // The zone by its name, in every way that a time is shown.
    let offset = |line: &str| line.contains("-05:00") || line.contains("-04:00");
    for line in ["grants", "--json grants", "audit show", "status"] {
        let shown = carol.run(&format!("TZ=America/New_York jitctl {line}"))?;
        shown.ok()?.holds(offset(&shown.stdout), "an offset of New York")?;
    }
    carol
        .run("jitctl audit search --since '1h ago' --until '2h ago'")?
        .exits(2)?
        .says("is not before --until")?;
    Ok(())
}

fn a_name_that_the_record_does_not_know_is_said_to(host: &Host) -> Result<()> {
    let mut carol = host.login(CAROL)?;
    carol.run("jitctl audit search --outcome deny")?.exits(2)?.says("allowed, denied")?;
    carol.run("jitctl audit search --event acess.denied")?.exits(2)?.says("'access.denied'")?;
    for count in ["", " --count", " --limit 5"] {
        let said = carol.run(&format!("jitctl audit search --user alise{count}"))?;
        said.exits(4)?.says("no record names a user alise; nearest: alice")?;
        let said = carol.run(&format!("jitctl audit search --role web-admim{count}"))?;
        said.exits(4)?.says("no record names a role web-admim; nearest: web-admin")?;
        carol.run(&format!("jitctl audit search --session 4711{count}"))?.exits(4)?.says("session 4711")?;
        carol.run(&format!("jitctl audit search --host db1{count}"))?.exits(4)?.says("of web1 only")?;
    }
    // A name that is there, and did nothing of the kind, is an answer.
    carol
        .run("jitctl audit search --user alice --event audit.sealed")?
        .ok()?
        .says("no audit record matches")?;
    let mut other = host.login(CAROL)?;
    let _following = other.start("jitctl audit follow --user alise 2>/var/tmp/said")?;
    wait_until("the slip is told", LIMIT, || {
        Ok(host.read("/var/tmp/said").is_ok_and(|said| said.contains("nearest: alice so far")))
    })
}

fn what_was_shown_nowhere_is_shown(host: &Host) -> Result<()> {
    let policy = host.jitctl(&["policy", "show"])?;
    ensure!(policy["warn_before_seconds"] == serde_json::json!([300, 60]), "{policy}");
    ensure!(policy["roles"][0]["without_forwarding"] == false, "{policy}");
    host.root_sh("sed -i '/^\\[role.peers\\]/a without_forwarding = true' /etc/jitd/roles.d/*.toml; systemctl reload jitd")?
        .ok()?;
    host.root(&["jitctl", "roles"])?.ok()?.says("FORWARDING")?.says("not needed")?;
    let slip = ["jitctl", "revoke", "--user", "alise", "--reason", "a story"];
    host.root(&slip)?.exits(4)?.says("did you mean alice?")?;
    let grant = ["jitctl", "grant", "zoe", "ops", "--for", "10m", "--reason", "a hand is needed"];
    host.root(&grant)?.ok()?.says("zoe is in no rule of sudoers")?;
    let named = ["jitctl", "grant", DAVE, "twice", "--for", "10m", "--reason", "a hand is needed"];
    host.root(&named)?.ok()?.never_says("sudoers")?;
    let links = host.root_sh(LINKS)?;
    links.ok()?.says("there ./README.md siem/README.md")?.never_says("DEAD")?;
    Ok(())
}
