//! A run of apt is one finding, and hides nothing that was planted during it.

use anyhow::{Result, ensure};
use jit_tests::host::play;
use jit_tests::people::DAVE;
use jit_tests::plan::{Plan, Release};

use super::{LIMIT, first_scan, last, scanned_after, told};

/// What somebody plants while apt runs, and by what it is named. The first is the gravest.
const PLANTS: [(&str, &str); 9] = [
    ("cp /usr/bin/bash /usr/local/bin/b && chmod 4755 /usr/local/bin/b", "added setuid /usr/local/bin/b"),
    (
        "useradd --non-unique --uid 0 --gid 0 --no-create-home --shell /bin/bash apache2",
        "account apache2 added (uid 0",
    ),
    ("usermod --append --groups ssl-cert dave", "group ssl-cert added (gid 10"),
    ("echo '# dave' >/etc/sudoers.d/apache2", "added /etc/sudoers.d/apache2"),
    (
        "mkdir -p /root/.ssh && echo 'ssh-ed25519 AAAA x' >>/root/.ssh/authorized_keys",
        "/root/.ssh/authorized_keys",
    ),
    (
        "echo '[Service]' >/usr/lib/systemd/system/apache2-helper.service",
        "added /usr/lib/systemd/system/apache2-helper.service",
    ),
    ("echo '# job' >/etc/cron.d/apache2", "added /etc/cron.d/apache2"),
    (
        "cp /etc/ssl/certs/ssl-cert-snakeoil.pem /etc/ssl/certs/evil.pem && ln -s evil.pem /etc/ssl/certs/00000000.0",
        "/etc/ssl/certs/evil.pem",
    ),
    (
        "cat /etc/ssl/certs/ssl-cert-snakeoil.pem >>/etc/ssl/certs/ca-certificates.crt",
        "/etc/ssl/certs/ca-certificates.crt",
    ),
];

/// One run of apt that brings 39 packages, with certificates, keys, a group and links that no package ships: Debian's own
/// apache2, with what it recommends.
#[test]
fn a_run_of_apt_is_one_finding_and_what_was_planted_during_it_is_named() -> Result<()> {
    let plan =
        Plan::new(Release::Trixie).with_debian(&["logrotate", "iproute2"]).with_downloads(&["apache2"]);
    for planted in [false, true] {
        play(&plan, |host| {
            first_scan(host)?;
            let mut script = "#!/bin/sh\nset -e\napt-get install -qq -y apache2 </dev/null\n".to_owned();
            if planted {
                script.extend(PLANTS.map(|(command, _)| format!("{command}\n")));
            }
            host.write_program("/srv/administer.sh", &script)?;
            let mut dave = host.login(DAVE)?;
            host.grant(DAVE, "ops", "30m")?;
            let behind = last(host)?;
            let line = "sudo -n env DEBIAN_FRONTEND=noninteractive /srv/administer.sh";
            scanned_after(host, || dave.run_within(line, LIMIT)?.ok().map(drop))?;
            let records = host.records()?;
            let lines = told(&records, "grant.left_behind", behind);
            println!("{lines:#?}");
            let of_apt: Vec<&String> =
                lines.iter().filter(|(kind, _)| kind == "shipped").map(|(_, line)| line).collect();
            ensure!(of_apt.len() == 1, "{lines:#?}");
            ensure!(of_apt[0].starts_with("packages apache2, apache2-bin, "), "{of_apt:?}");
            ensure!(of_apt[0].contains("/etc/ssl/certs/ssl-cert-snakeoil.pem"), "{of_apt:?}");
            let alerts = records.iter().filter(|record| record["alert"] == "left-behind").count();
            if !planted {
                ensure!(lines.len() == 1 && alerts == 0, "{alerts} alerts, {lines:#?}");
                return Ok(());
            }
            for (command, named) in PLANTS {
                let is_named = |(kind, line): &&(String, String)| kind != "shipped" && line.contains(named);
                ensure!(lines.iter().any(|line| is_named(&line)), "{command} is not named in {lines:#?}");
            }
            ensure!(lines[0].0 == "set-uid" && alerts == 1, "{alerts} alerts, {lines:#?}");
            Ok(())
        })?;
    }
    Ok(())
}
