use super::*;
use std::time::Duration;

use jit_proto::time::{BootId, WallTime};
use proptest::prelude::*;

const MINUTE: u64 = 60 * 1_000_000;
const DAY: u64 = 24 * 60 * MINUTE;

/// A record of this person at this minute.
fn record(event: AuditEvent, uid: u32, minute: u64) -> Draft {
    let facts = Facts {
        user: Some(format!("user{uid}")),
        uid: Some(uid),
        role: Some("web-admin".into()),
        ..Facts::default()
    };
    Draft {
        event,
        wall: WallTime(20_000 * DAY + minute * MINUTE),
        boot: BootTime(minute * MINUTE),
        boot_id: BootId("b".into()),
        facts,
    }
}

/// Feeds records to the fold; returns the alerts.
fn raised(rules: &AlertRules, records: &[Draft]) -> Vec<Draft> {
    fold(Watch::default(), rules, records).1
}

fn fold(mut watch: Watch, rules: &AlertRules, records: &[Draft]) -> (Watch, Vec<Draft>) {
    let mut alerts = Vec::new();
    for (seq, record) in (1u64..).zip(records) {
        let (next, seen) = watch.look(rules, seq, record);
        watch = next;
        alerts.extend(seen.alerts);
    }
    (watch, alerts)
}

fn named(alerts: &[Draft]) -> Vec<&str> {
    alerts.iter().filter_map(|alert| alert.facts.alert.as_deref()).collect()
}

fn only(rule: Rule) -> AlertRules {
    let off = Rule::ALL.iter().copied().filter(|other| *other != rule).collect();
    AlertRules { off, ..AlertRules::default() }
}

#[test]
fn five_refusals_in_ten_minutes_raise_one_alert_about_the_last() {
    let refusals: Vec<Draft> = (0..5).map(|minute| record(AuditEvent::AccessDenied, 7, minute)).collect();
    assert!(raised(&AlertRules::default(), &refusals[..4]).is_empty());
    let alerts = raised(&AlertRules::default(), &refusals);
    assert_eq!(named(&alerts), ["denials"]);
    let facts = &alerts[0].facts;
    assert_eq!((facts.about, facts.uid, facts.suppressed), (Some(5), Some(7), None));
    assert_eq!(facts.detail.as_deref(), Some("refused 5 times within 10m"));
}

#[test]
fn refusals_of_several_people_or_far_apart_are_none() {
    let of_several: Vec<Draft> = (0..20).map(|n| record(AuditEvent::AccessDenied, n, 0)).collect();
    assert!(raised(&AlertRules::default(), &of_several).is_empty());
    let far_apart: Vec<Draft> = (0..20).map(|n| record(AuditEvent::AccessDenied, 7, n * 3)).collect();
    assert!(raised(&AlertRules::default(), &far_apart).is_empty());
}

#[test]
fn who_is_refused_on_the_bus_is_who_asked() {
    let mut refused = record(AuditEvent::CommandRefused, 7, 0);
    (refused.facts.uid, refused.facts.actor_uid) = (None, Some(8));
    let alerts = raised(&AlertRules::default(), &vec![refused; 5]);
    assert_eq!((named(&alerts), alerts[0].facts.actor_uid), (vec!["denials"], Some(8)));
}

#[test]
fn the_first_use_of_each_role_is_told_once() {
    let first = record(AuditEvent::AccessAllowed, 7, 0);
    let mut other = record(AuditEvent::AccessAllowed, 7, 1);
    other.facts.role = Some("ops".into());
    let records =
        [first.clone(), first.clone(), other.clone(), other, record(AuditEvent::AccessAllowed, 8, 2)];
    let (watch, alerts) = fold(Watch::default(), &only(Rule::FirstUse), &records);
    assert_eq!(named(&alerts), ["first-use"; 3]);
    let baseline = watch.known[&Some(UserId(7))].baseline.clone();
    let remembered = Watch::remembering(BTreeMap::from([(UserId(7), baseline)]));
    assert!(fold(remembered.clone(), &only(Rule::FirstUse), &records[..1]).1.is_empty());
    let mut namesake = first;
    namesake.facts.user = Some("somebody else".into());
    assert_eq!(fold(remembered, &only(Rule::FirstUse), &[namesake]).1.len(), 1, "an account made anew");
}

#[test]
fn what_changes_a_habit_is_written_down_with_it() {
    let mut watch = Watch::default();
    let mut written = 0;
    for n in 0..1000 {
        let (next, seen) = watch.look(&AlertRules::default(), n, &record(AuditEvent::AccessAllowed, 7, 0));
        watch = next;
        written += usize::from(seen.baseline.is_some());
    }
    assert!(written <= 11, "{written} of 1000 elevations wrote more than their record");
}

/// A person with this many elevations in the busiest hour of each of the days before.
fn person_with(busiest: &[u32]) -> Watch {
    let first = 20_000 - busiest.len() as u64;
    let days = (first..).zip(busiest.iter().copied()).collect();
    let baseline = Baseline { name: "user7".into(), roles: ["web-admin".to_owned()].into(), days };
    Watch::remembering(BTreeMap::from([(UserId(7), baseline)]))
}

#[test]
fn a_spike_is_far_above_the_persons_own_usual() {
    let burst = |count: usize| vec![record(AuditEvent::AccessAllowed, 7, 1); count];
    let rules = only(Rule::Spike);
    let often = |watch: Watch, count| named(&fold(watch, &rules, &burst(count)).1).len();
    assert_eq!(often(person_with(&[10; 20]), 30), 0, "three times as much is not more than that");
    assert_eq!(often(person_with(&[10; 20]), 31), 1);
    assert_eq!(often(person_with(&[1; 20]), 20), 0, "few for anybody");
    assert_eq!(often(person_with(&[1; 20]), 21), 1);
    assert_eq!(often(person_with(&[1; 4]), 500), 0, "nothing is usual yet");
    assert_eq!(often(person_with(&[10, 10, 10, 10, 10, 900]), 31), 1, "one wild day is not the rule");
    assert_eq!(often(person_with(&[300; 20]), 500), 0, "busy people are busy");
}

#[test]
fn a_grant_without_a_request_is_an_emergency() {
    let mut given = record(AuditEvent::GrantStarted, 7, 0);
    given.facts.actor = Some("oscar".into());
    let mut asked = given.clone();
    asked.facts.request = Some(3);
    let alerts = raised(&AlertRules::default(), &[asked, given]);
    assert_eq!(named(&alerts), ["emergency"]);
    assert_eq!(
        alerts[0].facts.detail.as_deref(),
        Some("granted by oscar without a request and its approval")
    );
}

#[test]
fn hours_are_of_the_zone_and_the_day() {
    let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(2));
    let rules = AlertRules {
        hours: Some(Hours { days: (0..5).collect(), from: 8 * 60, to: 18 * 60, zone }),
        ..only(Rule::OutsideHours)
    };
    // 1 January 1970 is a Thursday, and so day 20,000 a Friday.
    let at =
        |days: u64, minute: u64| raised(&rules, &[record(AuditEvent::GrantStarted, 7, days * 1440 + minute)]);
    for (days, minute, outside) in [(0, 6 * 60, false), (0, 6 * 60 - 1, true), (0, 16 * 60 - 1, false)] {
        assert_eq!(!at(days, minute).is_empty(), outside, "day {days}, minute {minute} UTC");
    }
    assert!(at(0, 16 * 60)[0].facts.detail.as_deref().is_some_and(|text| text.ends_with("on fri 18:00")));
    assert!(!at(1, 12 * 60).is_empty(), "a Saturday");
    let always = AlertRules { hours: None, ..rules.clone() };
    assert!(
        raised(&always, &[record(AuditEvent::GrantStarted, 7, 0)]).is_empty(),
        "off unless hours are said"
    );
}

#[test]
fn some_records_are_alerts_by_themselves() {
    for (event, rule) in [
        (AuditEvent::AuditUnsealed, "chain"),
        (AuditEvent::AuditResealed, "chain"),
        (AuditEvent::ClockStepped, "clock"),
        (AuditEvent::GrantLeftBehind, "left-behind"),
        (AuditEvent::SessionStuck, "session-stuck"),
        (AuditEvent::SessionGroup, "group"),
        (AuditEvent::ScopeTampered, "scope-tampered"),
    ] {
        assert_eq!(named(&raised(&AlertRules::default(), &[record(event, 7, 0)])), [rule]);
    }
    assert!(raised(&AlertRules::default(), &[record(AuditEvent::AlertRaised, 7, 0)]).is_empty());
    assert!(raised(&AlertRules::default(), &[record(AuditEvent::NotifyFailed, 7, 0)]).is_empty());
}

#[test]
fn a_rule_that_is_off_raises_nothing() {
    let off = AlertRules { off: Rule::ALL.iter().copied().collect(), ..AlertRules::default() };
    let records: Vec<Draft> =
        AuditEvent::ALL.iter().flat_map(|event| vec![record(*event, 7, 0); 9]).collect();
    assert!(raised(&off, &records).is_empty());
}

/// Records of few people, in any order and at any distance.
fn records() -> impl Strategy<Value = Vec<Draft>> {
    let one = (prop::sample::select(AuditEvent::ALL), 0u32..3, 0u64..20);
    prop::collection::vec(one, 1..200).prop_map(|steps| {
        let mut minute = 0;
        steps
            .into_iter()
            .map(|(event, uid, step)| {
                minute += step;
                record(event, uid, minute)
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn a_flood_raises_one_alert_a_rule_a_person_and_a_span(records in records()) {
        let rules = AlertRules::default();
        let alerts = raised(&rules, &records);
        let mut last: BTreeMap<(String, Option<u32>), BootTime> = BTreeMap::new();
        for alert in &alerts {
            let facts = &alert.facts;
            let rule = facts.alert.clone().unwrap_or_default();
            if rule == "first-use" {
                continue;
            }
            if let Some(before) = last.insert((rule, facts.uid), alert.boot) {
                prop_assert!(alert.boot.since(before) >= rules.repeat_after, "{:?}", facts);
            }
        }
    }

    #[test]
    fn what_is_held_back_is_counted(times in prop::collection::vec(0u64..10, 1..60)) {
        let mut minute = 0;
        let steps: Vec<Draft> = times.iter().map(|step| {
            minute += step;
            record(AuditEvent::ClockStepped, 7, minute)
        }).collect();
        let (watch, alerts) = fold(Watch::default(), &AlertRules::default(), &steps);
        let said: u64 = alerts.iter().map(|alert| 1 + alert.facts.suppressed.unwrap_or(0)).sum();
        let unsaid = watch.known[&Some(UserId(7))].raised[&(Rule::Clock, None)].suppressed;
        prop_assert_eq!(said + unsaid, steps.len() as u64);
    }

    #[test]
    fn a_record_that_is_not_written_changes_nothing(records in records(), lost in any::<prop::sample::Index>()) {
        let rules = AlertRules::default();
        let (watch, _) = fold(Watch::default(), &rules, &records);
        let (next, seen) = watch.clone().look(&rules, 1, lost.get(&records));
        prop_assert_eq!(next.forget(seen.undo), watch);
    }

    #[test]
    fn an_alert_names_its_cause_and_raises_none_itself(records in records()) {
        for alert in raised(&AlertRules::default(), &records) {
            let about = usize::try_from(alert.facts.about.unwrap_or(0)).unwrap_or(0);
            let cause = &records[about - 1];
            prop_assert_eq!(&alert.facts.uid, &cause.facts.uid);
            prop_assert_eq!(alert.boot, cause.boot);
            prop_assert!(raised(&AlertRules::default(), &vec![alert; 20]).is_empty());
        }
    }
}

#[test]
fn the_span_is_the_rules() {
    let rules = AlertRules { repeat_after: Duration::from_secs(60), ..AlertRules::default() };
    let steps: Vec<Draft> = (0..10).map(|minute| record(AuditEvent::ClockStepped, 7, minute)).collect();
    assert_eq!(raised(&rules, &steps).len(), 10);
}

/// A record of what `actor` did in a login of `loginuid`.
fn done_by(event: AuditEvent, actor: u32, loginuid: Option<u32>) -> Draft {
    let mut record = record(event, 7, 0);
    record.facts.actor = Some(format!("user{actor}"));
    (record.facts.actor_uid, record.facts.loginuid) = (Some(actor), loginuid);
    record.facts.origin = Some("login".into());
    record
}

#[test]
fn who_decides_under_another_account_or_without_a_login_is_told() {
    let rules = only(Rule::LoginMismatch);
    for event in [
        AuditEvent::RequestApproved,
        AuditEvent::RequestDenied,
        AuditEvent::GrantStarted,
        AuditEvent::GrantExtended,
        AuditEvent::GrantRevoked,
        AuditEvent::AuditSealed,
        AuditEvent::AuditResealed,
    ] {
        assert!(raised(&rules, &[done_by(event, 8, Some(8))]).is_empty(), "{event:?}");
        assert_eq!(named(&raised(&rules, &[done_by(event, 8, Some(7))])), ["login-mismatch"], "{event:?}");
        assert_eq!(named(&raised(&rules, &[done_by(event, 8, None)])), ["login-mismatch"], "{event:?}");
    }
    assert_eq!(
        named(&raised(&rules, &[done_by(AuditEvent::CommandRefused, 8, Some(7))])),
        ["login-mismatch"]
    );
    assert!(raised(&rules, &[done_by(AuditEvent::RequestMade, 8, Some(7))]).is_empty());
}

#[test]
fn who_uses_the_window_of_somebody_else_is_told() {
    let rules = only(Rule::LoginMismatch);
    let mut used = record(AuditEvent::AccessAllowed, 7, 0);
    used.facts.loginuid = Some(7);
    assert!(raised(&rules, std::slice::from_ref(&used)).is_empty());
    used.facts.loginuid = Some(9);
    let alerts = raised(&rules, &[used]);
    assert_eq!(named(&alerts), ["login-mismatch"]);
    assert!(alerts[0].facts.detail.as_deref().unwrap().contains("logged in with uid 9"));
}

#[test]
fn a_stack_that_is_broken_restored_and_broken_again_raises_two_alerts_that_name_the_service() {
    let stack = |event, service: &str, minute| {
        let mut draft = record(event, 0, minute);
        let detail = (event == AuditEvent::StackBroken).then(|| "/etc/pam.d/x:3: it does not ask".to_owned());
        draft.facts = Facts { service: Some(service.into()), detail, ..Facts::default() };
        draft
    };
    let (broken, restored) = (AuditEvent::StackBroken, AuditEvent::StackRestored);
    let records = [
        stack(broken, "sudo-i", 0),
        stack(broken, "sudo", 1),
        stack(restored, "sudo-i", 2),
        stack(broken, "sudo-i", 3),
        // The stack of sudo was not restored, so its second alert is suppressed.
        stack(broken, "sudo", 4),
    ];
    let alerts = raised(&AlertRules::default(), &records);
    let services: Vec<_> = alerts.iter().filter_map(|alert| alert.facts.service.as_deref()).collect();
    assert_eq!(services, ["sudo-i", "sudo", "sudo-i"]);
    let detail = alerts[0].facts.detail.as_deref();
    assert_eq!(
        detail,
        Some("sudo-i lets people become root without a window: /etc/pam.d/x:3: it does not ask")
    );
}

/// FOUND B3: a finding never suppresses the alert of another finding; the same finding again is suppressed.
#[test]
fn one_finding_does_not_silence_another() {
    let found = |kind: &str, line: &str, minute: u64| {
        let mut record = record(AuditEvent::GrantLeftBehind, 7, minute);
        record.facts.finding = Some(kind.to_owned());
        record.facts.left_behind = Some(vec![line.to_owned()]);
        record.facts.detail = Some(format!("{line}; changed between then and now"));
        record
    };
    let rules = only(Rule::LeftBehind);
    let alerts = raised(
        &rules,
        &[
            found("units", "changed /etc/apt/a: its content", 0),
            found("accounts", "changed /etc/passwd: account toor added", 1),
            found("accounts", "changed /etc/passwd: account toor added", 2),
            found("accounts", "changed /etc/passwd: account root2 added", 3),
            found("shipped", "package nginx installed", 4),
        ],
    );
    let why: Vec<&str> = alerts.iter().filter_map(|alert| alert.facts.detail.as_deref()).collect();
    assert_eq!(
        why,
        [
            "changed /etc/apt/a: its content; changed between then and now",
            "changed /etc/passwd: account toor added; changed between then and now",
            "changed /etc/passwd: account root2 added; changed between then and now",
        ]
    );
    // The records of one drift scan raise one alert, by the first of them.
    let mut parts = [found("set-uid", "a", 10), found("units", "b", 10)];
    (parts[0].facts.part, parts[1].facts.part) = (Some(1), Some(2));
    assert_eq!(raised(&rules, &parts).len(), 1);
    // Changes of a user to their own files raise one alert in the interval.
    assert_eq!(raised(&rules, &[found("own-files", "a", 20), found("own-files", "b", 21)]).len(), 1);
}

#[test]
fn a_change_of_the_host_raises_an_alert_where_it_is_grave() {
    let changed = |kind: &str| {
        let mut record = record(AuditEvent::HostChanged, 7, 0);
        record.facts.finding = Some(kind.to_owned());
        raised(&AlertRules::default(), &[record]).len()
    };
    assert_eq!(["sudoers", "set-uid", "accounts", "units"].map(changed), [1; 4]);
    assert_eq!(["own-files", "shipped", "mounts", "unseen"].map(changed), [0; 4]);
}

#[test]
fn the_table_of_events_names_rules_that_there_are() {
    for event in AuditEvent::ALL {
        assert_eq!(event.row().alert, by_itself(*event).map(Rule::name), "{event:?}");
    }
}
