//! The drift scan names every plant, the gravest first, and names ordinary administration as what it is.
#![allow(clippy::print_stdout, reason = "how many plants were named is told to whoever runs the story alone")]

mod apt;

mod plants;

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jit_tests::clock::wait_until;
use jit_tests::host::{Host, play};
use jit_tests::people::{DAVE, OSCAR};
use jit_tests::plan::{Plan, Release};
use serde_json::Value;

/// The longest pause before a drift scan: half a minute and fifty times what the last scan took, with room.
pub(crate) const LIMIT: Duration = Duration::from_secs(180);

/// Waits until a drift scan has covered every session.
pub(crate) fn scanned(host: &Host) -> Result<()> {
    wait_until("a drift scan has covered every session", LIMIT, || {
        Ok(host.read("/var/lib/jitd/survey-open.json").is_ok_and(|open| open.contains("\"held\":{}")))
    })
}

/// Runs a line in which a session begins, and waits until a drift scan has covered that session: jitd writes the file of
/// sessions to be covered when it begins, and again when none is left.
fn scanned_after(host: &Host, run: impl FnOnce() -> Result<()>) -> Result<()> {
    let stamp = || -> Result<String> {
        Ok(host.root(&["stat", "--format=%z %i", "/var/lib/jitd/survey-open.json"])?.text())
    };
    let before = stamp()?;
    run()?;
    wait_until("the session has been noted", LIMIT, || Ok(stamp()? != before))?;
    scanned(host)
}

/// Waits for the first drift scan, with which later ones are compared.
pub(crate) fn first_scan(host: &Host) -> Result<()> {
    wait_until("there is a first drift scan", LIMIT, || Ok(host.has("/var/lib/jitd/survey.json")))
}

/// All lines of an event's records behind a record, with the kind of each record.
fn told(records: &[Value], event: &str, behind: u64) -> Vec<(String, String)> {
    let of_event = |record: &&Value| record["event"] == event && record["seq"].as_u64() > Some(behind);
    records
        .iter()
        .filter(of_event)
        .flat_map(|record| {
            let kind = record["finding"].as_str().unwrap_or("?").to_owned();
            let lines = record["left_behind"].as_array().into_iter().flatten().filter_map(Value::as_str);
            lines.map(move |line| (kind.clone(), line.to_owned())).collect::<Vec<_>>()
        })
        .collect()
}

fn last(host: &Host) -> Result<u64> {
    host.records()?.last().and_then(|record| record["seq"].as_u64()).context("a record")
}

/// FOUND D6, D12, and D1 to D11 as far as one session can plant them.
#[test]
fn every_plant_is_named_the_gravest_first_with_200_files_of_noise_among_them() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("hostile")?;
        let plants = plants::all();
        let script: String = plants
            .iter()
            .enumerate()
            .map(|(n, plant)| format!("( {} ) || echo FAILED {n}\n", plant.command))
            .collect();
        host.write_program("/srv/plant.sh", &format!("#!/bin/bash\nset +e\n{}{script}", plants::NOISE))?;
        // Deeper than any limit that was, and made before the window.
        let mut dave = host.login(DAVE)?;
        dave.run("cd /home/dave; for n in $(seq 90); do mkdir d; cd d; done; pwd >/home/dave/deep; cd")?
            .ok()?;
        first_scan(host)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        let planted = dave.run("sudo -n /srv/plant.sh")?;
        ensure!(!planted.text().contains("FAILED"), "{}", planted.text());
        scanned(host)?;
        let records = host.records()?;
        let lines = told(&records, "grant.left_behind", 0);
        let all: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let missing: Vec<&str> = plants
            .iter()
            .filter(|plant| !plant.is_named(&all))
            .map(|plant| plant.expected.as_str())
            .collect();
        println!("{} planted, {} named, in {} lines", plants.len(), plants.len() - missing.len(), all.len());
        ensure!(missing.is_empty(), "{} are not named: {missing:#?}\nin {all:#?}", missing.len());
        ensure!(plants.len() >= 143, "{}", plants.len());
        let noise =
            (0..200).filter(|n| all.iter().any(|line| line.contains(&format!("noise-{n:03}")))).count();
        ensure!(noise == 200, "{noise} of the noise is named");
        // The records of the drift scan: the gravest first, which the first one's text and the alert's begin with.
        let left: Vec<&Value> =
            records.iter().filter(|record| record["event"] == "grant.left_behind").collect();
        let ranks: Vec<usize> = left
            .iter()
            .filter_map(|record| plants::KINDS.iter().position(|kind| record["finding"] == *kind))
            .collect();
        ensure!(ranks.len() == left.len() && ranks.is_sorted() && ranks[0] == 0, "{ranks:?}");
        let first = left[0]["detail"].as_str().context("a text")?;
        ensure!(first.starts_with("added setuid /"), "{first}");
        ensure!(
            first.contains("changed between 20") && first.contains(", while or shortly after dave held root"),
            "{first}"
        );
        let alerts: Vec<&Value> =
            records.iter().filter(|r| r["alert"] == "left-behind" && r["grant"] == grant).collect();
        ensure!(alerts.len() == 1 && alerts[0]["detail"] == left[0]["detail"], "{alerts:#?}");
        let sent = host.root_sh("journalctl --no-pager --quiet --output=cat --unit=jitd.service")?.text();
        ensure!(sent.contains("drift scan: "), "what it cost is in the journal");
        for line in sent.lines().filter(|line| line.contains("drift scan: ")) {
            println!("{line}");
        }
        Ok(())
    })
}

/// What runs from a unit that was there before is no finding; FOUND D2 has those that are.
#[test]
fn what_runs_on_outside_of_a_session_is_named_and_ordinary_services_are_not() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.write("/etc/systemd/system/old.service", "[Service]\nExecStart=/usr/bin/sleep 4000\n")?;
        host.write(
            "/etc/systemd/system/script.service",
            "[Service]\nExecStart=/bin/sh -c '/usr/bin/sleep 4001 & wait'\n",
        )?;
        host.root(&["systemctl", "daemon-reload"])?.ok()?;
        first_scan(host)?;
        let mut dave = host.login(DAVE)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        host.write_program(
            "/srv/plant.sh",
            "#!/bin/bash\n\
             systemd-run --quiet --unit=e02 sleep 900\nrm /run/systemd/transient/e02.service\n\
             setsid --fork bash -c 'echo 0 >/proc/self/loginuid; mkdir -p /sys/fs/cgroup/planted; echo $$ >/sys/fs/cgroup/planted/cgroup.procs; exec sleep 901'\n\
             setsid --fork bash -c 'echo 0 >/proc/self/loginuid; exec systemd-run --quiet --scope --unit=session-c97 sleep 902' >/dev/null 2>&1 </dev/null\n\
             setsid --fork bash -c 'echo 0 >/proc/self/loginuid; echo $$ >/sys/fs/cgroup/system.slice/cron.service/cgroup.procs; exec sleep 903'\n\
             systemctl start --no-block old.service script.service\n\
             until grep -q planted /proc/$(pgrep -fx 'sleep 901')/cgroup && pgrep -f 'sleep 902' && pgrep -fx 'sleep 903' \
             && pgrep -fx '/usr/bin/sleep 4001'; do :; done\n",
        )?;
        dave.run("sudo -n /srv/plant.sh")?.ok()?;
        scanned(host)?;
        let lines = told(&host.records()?, "grant.left_behind", 0);
        let of = |what: &str| {
            let found = lines.iter().find(|(_, line)| line.contains(what) && line.starts_with("process "));
            found.map(|(_, line)| line.clone()).with_context(|| format!("{what} is missing in {lines:#?}"))
        };
        let said = of("sleep 900")?;
        ensure!(said.contains("e02.service, a unit without a file"), "{said}");
        ensure!(said.contains(" runs as root since 20") && said.contains("child of 1 systemd"), "{said}");
        of("sleep 901")?;
        let said = of("sleep 902")?;
        ensure!(said.contains("session-c97.scope, a login that logind does not know"), "{said}");
        ensure!(of("sleep 903")?.contains("cron.service"), "{lines:#?}");
        ensure!(lines.iter().any(|(_, line)| line.contains("transient/session-c97.scope")), "{lines:#?}");
        for ordinary in ["sleep 4000", "sleep 4001", "old.service"] {
            ensure!(!lines.iter().any(|(_, line)| line.contains(ordinary)), "{ordinary} in {lines:#?}");
        }
        let record = host.record("grant.left_behind", |record| record["grant"] == grant)?;
        ensure!(record["finding"] == "processes", "{record}");
        host.root_sh("systemctl stop e02 old script session-c97.scope; pkill -f 'sleep 90[13]'")?;
        Ok(())
    })
}

/// FOUND D3: what comes when nobody has a session any more is a record of the host with the grants before it.
#[test]
fn a_late_plant_is_a_record_that_names_the_last_grants() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        first_scan(host)?;
        let mut dave = host.login(DAVE)?;
        let grant = host.grant(DAVE, "ops", "30m")?;
        // The process is a finding by itself; what it does later is another one.
        dave.run("sudo -n systemd-run --quiet --unit=late sh -c 'until [ -e /srv/go ]; do sleep 1; done; echo \"# late\" >/etc/sudoers.d/late'")?.ok()?;
        scanned(host)?;
        let told = host.record("grant.left_behind", |record| record["grant"] == grant)?;
        ensure!(told["left_behind"].to_string().contains("process "), "{told}");
        host.write("/srv/go", "")?;
        let mut found = None;
        wait_until("the late plant is a record", LIMIT, || {
            found = host.records()?.into_iter().find(|record| {
                record["event"] == "host.changed"
                    && record["left_behind"].to_string().contains("/etc/sudoers.d/late")
            });
            Ok(found.is_some())
        })?;
        let record = found.context("a record")?;
        let detail = record["detail"].as_str().context("a text")?;
        ensure!(detail.starts_with("added /etc/sudoers.d/late"), "{detail}");
        ensure!(
            detail.contains(&format!("the last grants with sessions before it: {grant} (dave, ops)")),
            "{detail}"
        );
        ensure!(record["finding"] == "sudoers" && record["user"].is_null(), "{record}");
        host.record("alert.raised", |alert| {
            alert["alert"] == "host-changed" && alert["about"] == record["seq"]
        })?;
        Ok(())
    })
}

/// A package of two versions, with a unit that is enabled, a job, a PAM stack, a program and a configuration file.
const PACKAGES: &str = r##"#!/bin/bash
set -e
for version in 1 2; do
    root=/srv/webby-$version
    mkdir -p $root/DEBIAN $root/usr/sbin $root/usr/lib/systemd/system $root/etc/cron.d $root/etc/webby $root/etc/pam.d
    mkdir -p $root/etc/logrotate.d $root/usr/share/webby
    printf '#!/bin/sh\necho %s\n' $version >$root/usr/sbin/webby
    chmod 755 $root/usr/sbin/webby
    printf '[Service]\nExecStart=/usr/bin/sleep 9%s9\n[Install]\nWantedBy=multi-user.target\n' $version \
        >$root/usr/lib/systemd/system/webby.service
    echo "# $version" >$root/etc/cron.d/webby
    echo "# $version" >$root/etc/webby/webby.conf
    echo "auth required pam_deny.so # $version" >$root/etc/pam.d/webby
    echo "/var/log/webby.log { weekly }" >$root/etc/logrotate.d/webby
    for n in $(seq 30); do echo $n $version >$root/usr/share/webby/$n; done
    printf '/etc/%s\n' cron.d/webby webby/webby.conf pam.d/webby logrotate.d/webby >$root/DEBIAN/conffiles
    printf 'Package: webby\nVersion: %s\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a test\n' \
        $version >$root/DEBIAN/control
    printf '#!/bin/sh\nset -e\nsystemctl enable --quiet webby.service\nsystemctl daemon-reload\nsystemctl restart webby\nldconfig\n' \
        >$root/DEBIAN/postinst
    chmod 755 $root/DEBIAN/postinst
    (cd $root && find usr -type f -printf '%P\n' | sed 's|^|usr/|' | xargs md5sum >DEBIAN/md5sums)
    mkdir -p /srv/repository
    deb=/srv/repository/webby_$version.deb
    dpkg-deb --build --root-owner-group $root $deb >/dev/null
    { dpkg-deb --field $deb
      echo "Filename: ./webby_$version.deb"
      echo "Size: $(stat --format=%s $deb)"
      echo "SHA256: $(sha256sum $deb | cut -d' ' -f1)"
      echo
    } >>/srv/repository/Packages
done
echo 'deb [trusted=yes] file:/srv/repository ./' >/etc/apt/sources.list.d/local.list
# Of this repository alone: a host has no network.
apt-get update -qq -o Dir::Etc::sourcelist=/etc/apt/sources.list.d/local.list -o Dir::Etc::sourceparts=- \
    -o APT::Get::List-Cleanup=0
"##;

/// What an administrator does in a window, and how the one finding of it begins; "" where there is none.
const ADMINISTRATION: [(&str, &str); 9] = [
    ("apt-get install -qq -y nginx", "packages "),
    ("apt-get install -qq -y webby=1", "package webby installed: "),
    ("apt-get upgrade -qq -y", "package webby upgraded or installed again: "),
    ("useradd --create-home erin", "changed /etc/passwd: account erin added"),
    (
        "EDITOR='sed -i s,/home/erin,/srv/erin,' vipw -q </dev/null",
        "changed /etc/passwd: account erin changed",
    ),
    (
        "systemctl enable --quiet handy.service",
        "added link /etc/systemd/system/multi-user.target.wants/handy.service",
    ),
    ("/usr/sbin/logrotate --force /etc/logrotate.d/rotated", ""),
    ("systemctl start renew.service", "changed /etc/ssl/certs/host.pem: its content"),
    ("apt-get install -qq -y --reinstall webby", "package webby upgraded or installed again: "),
];

/// The seven administrations of issue 8, an installation of a version, and a reinstallation of the same files. nginx is
/// Debian's own, from apt's cache.
#[test]
fn ordinary_administration_is_one_readable_finding_each_or_none() -> Result<()> {
    let plan = Plan::new(Release::Trixie).with_debian(&["logrotate", "iproute2"]).with_downloads(&["nginx"]);
    play(&plan, |host| {
        host.write_program("/srv/packages.sh", PACKAGES)?;
        host.root(&["/srv/packages.sh"])?.ok()?;
        host.write("/etc/logrotate.d/rotated", "/var/log/rotated.log { rotate 3\n weekly\n }\n")?;
        host.write("/var/log/rotated.log", "x\n")?;
        host.write(
            "/usr/lib/systemd/system/handy.service",
            "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n",
        )?;
        host.write("/etc/ssl/certs/host.pem", "old\n")?;
        host.write(
            "/etc/systemd/system/renew.service",
            "[Service]\nType=oneshot\nExecStart=/bin/sh -c 'date +%%N >/etc/ssl/certs/host.pem'\n",
        )?;
        host.root(&["systemctl", "daemon-reload"])?.ok()?;
        host.root_sh("useradd --system warm-up && userdel warm-up")?.ok()?;
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        host.root(&["systemctl", "restart", "jitd.service"])?.ok()?;
        first_scan(host)?;
        for (command, expected) in ADMINISTRATION {
            let behind = last(host)?;
            let line = format!("sudo -n env DEBIAN_FRONTEND=noninteractive sh -c \"{command}\" </dev/null");
            scanned_after(host, || dave.run_within(&line, LIMIT)?.ok().map(drop))?;
            let records = host.records()?;
            let lines = told(&records, "grant.left_behind", behind);
            println!("{command}: {lines:#?}");
            let fits = match expected {
                "" => lines.is_empty(),
                _ => lines.len() == 1 && lines[0].1.starts_with(expected),
            };
            ensure!(fits, "{command} is to be told as {expected:?} and is {lines:#?}");
            let new = records.iter().filter(|record| record["seq"].as_u64() > Some(behind));
            let text: String = new.clone().map(Value::to_string).collect();
            ensure!(!text.contains("dave changed"), "{text}");
            let alerts = new.filter(|record| record["alert"] == "left-behind").count();
            let is_package = expected.starts_with("package");
            ensure!(
                alerts == usize::from(!is_package && !expected.is_empty()),
                "{alerts} alerts for {command}"
            );
        }
        // FOUND B3: root's own work after a session is told with the interval, and keeps no alert from being raised.
        let behind = last(host)?;
        scanned_after(host, || {
            dave.run("sudo -n useradd --non-unique --uid 0 --gid 0 --no-create-home toor")?.ok().map(drop)
        })?;
        let alert = host.record("alert.raised", |record| {
            record["seq"].as_u64() > Some(behind) && record["alert"] == "left-behind"
        })?;
        let detail = alert["detail"].as_str().context("a text")?;
        ensure!(detail.starts_with("changed /etc/passwd: account toor added (uid 0"), "{detail}");
        ensure!(detail.contains("while or shortly after dave held root"), "{detail}");
        let page = host.root(&["jitctl", "report", "--since", "1 hour ago"])?.ok()?.text();
        ensure!(
            page.contains("while, or shortly after, dave held root") && !page.contains("dave changed"),
            "{page}"
        );
        Ok(())
    })
}

/// A program that is changed is compared with what its package ships; so are, now and then, all of them.
#[test]
fn a_program_that_is_not_what_its_package_ships_is_named_and_one_that_is_raises_no_alert() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        // A library of a daemon of root's, in a folder that is compared with its package only.
        const PLUGIN: &str = "/usr/lib/x86_64-linux-gnu/rsyslog/imuxsock.so";
        let checked = |at: &str| {
            wait_until("programs are compared with their packages", 3 * LIMIT, || {
                let known = host.read("/var/lib/jitd/survey.json")?;
                Ok(known.contains("\"checked\":{") && !known.contains(at))
            })
        };
        let plugin = host.root_sh("dpkg --search imuxsock.so | cut -d' ' -f2")?.text().trim().to_owned();
        ensure!(plugin.ends_with("/rsyslog/imuxsock.so"), "{plugin} is not like {PLUGIN}");
        first_scan(host)?;
        checked("\"checked\":null")?;
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        let behind = last(host)?;
        scanned_after(host, || {
            dave.run("sudo -n sh -c 'cp -a /usr/sbin/cron /root/c; echo x >>/root/c; mv /root/c /usr/sbin/cron; touch /usr/sbin/agetty'")?.ok().map(drop)
        })?;
        let lines = told(&host.records()?, "grant.left_behind", behind);
        let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
        let [changed, touched] = lines.as_slice() else { bail!("{lines:#?}") };
        ensure!(
            changed.starts_with("changed /usr/sbin/cron: its content is not what package cron ships"),
            "{changed}"
        );
        ensure!(
            touched.starts_with("changed /usr/sbin/agetty: ")
                && touched.contains("its content is what package util-linux ships"),
            "{touched}"
        );
        // Behind jitd's back, and a day later: what it knows is dated back.
        host.root(&["systemctl", "stop", "jitd.service"])?.ok()?;
        let line = format!("echo x >>{plugin}; touch {}", plugin.replace("imuxsock", "imklog"));
        host.root_sh(&line)?.ok()?;
        host.root_sh(
            "sed -i 's/\"checked\":{\"at\":[0-9]*/\"checked\":{\"at\":1/' /var/lib/jitd/survey.json",
        )?
        .ok()?;
        let behind = last(host)?;
        host.root(&["systemctl", "start", "jitd.service"])?.ok()?;
        checked("\"checked\":{\"at\":1,")?;
        let record = host.record("host.changed", |record| {
            record["seq"].as_u64() > Some(behind) && record["left_behind"].to_string().contains(&plugin)
        })?;
        let lines = record["left_behind"].to_string();
        let said = format!(
            "{plugin} is not what package rsyslog ships, by its checksum; when it was changed is not known"
        );
        ensure!(lines.contains(&said), "{lines}");
        ensure!(!lines.contains("imklog") && !lines.contains("agetty"), "{lines}");
        Ok(())
    })
}

/// apache2 is started by a script that its unit names; who restarts it leaves nothing behind.
#[test]
fn a_daemon_that_a_wrapper_script_starts_is_its_units() -> Result<()> {
    play(&Plan::new(Release::Trixie).with_debian(&["apache2"]), |host| {
        first_scan(host)?;
        host.root(&["systemctl", "is-active", "apache2.service"])?.ok()?;
        let mut dave = host.login(DAVE)?;
        host.grant(DAVE, "ops", "30m")?;
        let behind = last(host)?;
        scanned_after(host, || dave.run("sudo -n systemctl restart apache2.service")?.ok().map(drop))?;
        let lines = told(&host.records()?, "grant.left_behind", behind);
        ensure!(lines.is_empty(), "{lines:#?}");
        Ok(())
    })
}

/// What nobody can hide from the drift scan: FOUND D4 in the one case where it lets somebody in again.
#[test]
fn an_acl_on_a_folder_above_is_named_for_both_who_held_root() -> Result<()> {
    play(&Plan::new(Release::Trixie), |host| {
        host.install("hostile")?;
        first_scan(host)?;
        let mut dave = host.login(DAVE)?;
        let mut oscar = host.login(OSCAR)?;
        host.grant(DAVE, "ops", "30m")?;
        host.grant(OSCAR, "ops", "30m")?;
        let line = oscar.start("sudo -n sleep 3")?;
        dave.run("sudo -n hostile setacl /etc $(id -u)")?.ok()?;
        oscar.finish(&line, LIMIT)?.ok()?;
        scanned(host)?;
        let records = host.records()?;
        let left: Vec<&Value> =
            records.iter().filter(|record| record["event"] == "grant.left_behind").collect();
        ensure!(left.len() == 2, "{left:#?}");
        for record in left {
            let detail = record["detail"].as_str().context("a text")?;
            ensure!(
                detail.starts_with("changed folder /etc: mode 0755 became 0775; its ACL none became ("),
                "{detail}"
            );
            ensure!(detail.contains("while or shortly after dave, oscar held root"), "{detail}");
            ensure!(record["finding"] == "rights", "{record}");
        }
        Ok(())
    })
}
