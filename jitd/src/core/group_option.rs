//! Finds the group that a call of sudo requests, in its command line, as sudo parses it.
//!
//! Neither PAM nor the ids of sudo's own process show the group when the session opens: sudo sets it afterwards. So
//! jitd parses the options, by the rules that sudo 1.9 (src/parse_args.c: getopt_long(3) without permutation,
//! assignments in between) and sudo-rs (src/sudo/cli) have in common. Where the two differ, where an option is unknown,
//! or where the command line was cut before its options end, the group is unclear, and a limited role denies.

/// The group that a command line requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// None: the group will be the target's own.
    Nothing,
    /// A group, by name or as `#` and a gid; the last one if several are given, as in sudo.
    Group(String),
    /// It is unclear, and why.
    Unclear(String),
}

/// Options without an argument that do not affect the group.
const PLAIN: &str = "ABbEeHiKklNnSsVv";
/// Options with an argument, without `-g`.
const WITH_ARGUMENT: &str = "aCcDpRrTtUu";

/// Long options: whether they take an argument (`Some(true)`), none (`Some(false)`), or one after `=` only (`None`).
const LONG: [(&str, Option<bool>); 31] = [
    ("askpass", Some(false)),
    ("auth-type", Some(true)),
    ("background", Some(false)),
    ("bell", Some(false)),
    ("chdir", Some(true)),
    ("chroot", Some(true)),
    ("close-from", Some(true)),
    ("command-timeout", Some(true)),
    ("edit", Some(false)),
    ("group", Some(true)),
    ("help", Some(false)),
    ("host", Some(true)),
    ("list", Some(false)),
    ("login", Some(false)),
    ("login-class", Some(true)),
    ("no-update", Some(false)),
    ("non-interactive", Some(false)),
    ("other-user", Some(true)),
    ("preserve-env", None),
    ("preserve-groups", Some(false)),
    ("prompt", Some(true)),
    ("remove-timestamp", Some(false)),
    ("reset-timestamp", Some(false)),
    ("role", Some(true)),
    ("set-home", Some(false)),
    ("shell", Some(false)),
    ("stdin", Some(false)),
    ("type", Some(true)),
    ("user", Some(true)),
    ("validate", Some(false)),
    ("version", Some(false)),
];

/// Programs that give only root another group, or none: su(1), runuser(1), doas(1), pkexec(1).
const WITHOUT_GROUPS: [&str; 4] = ["su", "runuser", "doas", "pkexec"];

/// The requested group. `program` is the executable as the kernel names it, `argv` the command line; `cut` says that
/// `argv` is not complete.
#[must_use]
pub fn asked(program: &str, argv: &[String], cut: bool) -> Asked {
    let program = program.rsplit('/').next().unwrap_or(program);
    if WITHOUT_GROUPS.contains(&program) {
        return Asked::Nothing;
    }
    match read(argv) {
        Ok(Read { options_end: false, .. }) if cut => {
            Asked::Unclear("its command line is too long to be read to the end of its options".to_owned())
        }
        Ok(Read { group: Some(group), .. }) => Asked::Group(group),
        Ok(Read { group: None, .. }) => Asked::Nothing,
        Err(why) => Asked::Unclear(why),
    }
}

struct Read {
    group: Option<String>,
    /// An argument that is no option was reached.
    options_end: bool,
}

fn read(argv: &[String]) -> Result<Read, String> {
    let mut group = None;
    let mut words = argv.iter().skip(1);
    while let Some(word) = words.next() {
        let mut argument = |own: Option<&str>| -> Result<String, String> {
            let found = own.map(str::to_owned).or_else(|| words.next().cloned());
            found.ok_or_else(|| format!("{word} is without its argument"))
        };
        if word == "--" {
            return Ok(Read { group, options_end: true });
        } else if let Some(long) = word.strip_prefix("--") {
            let (name, own) = long.split_once('=').map_or((long, None), |(name, own)| (name, Some(own)));
            let (name, takes) = long_option(name)?;
            match (takes, own) {
                (Some(true), own) if name == "group" => group = Some(argument(own)?),
                (Some(true), own) if name != "host" => drop(argument(own)?),
                (None, _) => {}
                (Some(false), None) if name != "preserve-groups" && name != "help" => {}
                _ => return Err(format!("--{name} does not go with a role that is limited by run_as")),
            }
        } else if let Some(letters) = word.strip_prefix('-') {
            if letters.is_empty() {
                return Err("a single - is no option".to_owned());
            }
            for (at, letter) in letters.char_indices() {
                let rest = &letters[at + letter.len_utf8()..];
                let own = (!rest.is_empty()).then_some(rest);
                if letter == 'g' {
                    group = Some(argument(own)?);
                    break;
                } else if WITH_ARGUMENT.contains(letter) {
                    argument(own)?;
                    break;
                } else if !PLAIN.contains(letter) {
                    return Err(format!("-{letter} does not go with a role that is limited by run_as"));
                }
            }
        } else if word.starts_with('/') || !word.contains('=') {
            return Ok(Read { group, options_end: true });
        }
    }
    Ok(Read { group, options_end: false })
}

/// A long option by its name or a unique prefix of it (getopt_long(3)).
fn long_option(written: &str) -> Result<(&'static str, Option<bool>), String> {
    if let Some(exact) = LONG.iter().find(|(name, _)| *name == written) {
        return Ok(*exact);
    }
    let mut all = LONG.iter().filter(|(name, _)| name.starts_with(written));
    match (all.next(), all.next()) {
        (Some(only), None) if !written.is_empty() => Ok(*only),
        _ => Err(format!("--{written} is not known")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(line: &str) -> Asked {
        let argv: Vec<String> = line.split(' ').map(str::to_owned).collect();
        asked("/usr/bin/sudo", &argv, false)
    }

    #[test]
    fn a_group_is_found_in_every_spelling() {
        for line in [
            "sudo -g shadow cat",
            "sudo -gshadow cat",
            "sudo -ng shadow cat",
            "sudo -ngshadow cat",
            "sudo --group=shadow cat",
            "sudo --group shadow cat",
            "sudo --gr=shadow cat",
            "sudo --g shadow cat",
            "sudo A=b -g shadow cat",
            "sudo -u none A=b C=d -g shadow",
            "sudo -unone -g shadow -- cat",
            "sudo -g root -g shadow cat",
            "sudo -p -n -g shadow cat",
            "sudo --preserve-env=X -g shadow cat",
            "sudo -E -g shadow cat",
            "sudo -Eg shadow cat",
            "sudoedit -g shadow /etc/shadow",
            "sudo -e -g shadow /etc/shadow",
            "sudo a-b=c -g shadow cat",
        ] {
            assert_eq!(of(line), Asked::Group("shadow".into()), "{line}");
        }
    }

    #[test]
    fn what_belongs_to_the_command_is_no_group() {
        for line in [
            "sudo -u none cat -g shadow",
            "sudo -- A=b -g shadow",
            "sudo /bin/a=b -g shadow",
            "sudo -u none -p -g cat",
            "sudo",
            "sudo -n true",
            "sudo -u -g cat",
        ] {
            assert_eq!(of(line), Asked::Nothing, "{line}");
        }
    }

    #[test]
    fn what_is_not_understood_is_not_taken_for_nothing() {
        for line in [
            "sudo -P -u none id",
            "sudo --preserve-groups id",
            "sudo --pre id",
            "sudo -x id",
            "sudo -nx id",
            "sudo --unknown id",
            "sudo -h -g shadow id",
            "sudo - -g shadow id",
            "sudo -n -g",
            "sudo --help=x id",
        ] {
            assert!(matches!(of(line), Asked::Unclear(_)), "{line}: {:?}", of(line));
        }
        let long = ["sudo".to_owned(), format!("A={}", "x".repeat(4090))];
        assert!(matches!(asked("/usr/bin/sudo", &long, true), Asked::Unclear(_)));
        let command = ["sudo".to_owned(), "cat".to_owned(), "x".repeat(4090)];
        assert_eq!(asked("/usr/bin/sudo", &command, true), Asked::Nothing);
    }

    #[test]
    fn su_and_doas_have_no_such_option() {
        let argv = ["su".to_owned(), "-g".to_owned(), "shadow".to_owned()];
        assert_eq!(asked("/usr/bin/su", &argv, false), Asked::Nothing);
        // The name that a caller chooses for itself (`argv[0]`) decides nothing.
        assert_eq!(asked("/usr/bin/sudo", &argv, false), Asked::Group("shadow".into()));
    }

    proptest! {
        /// Bundled with options without arguments, and after any other options.
        #[test]
        fn no_bundle_hides_a_group(
            plain in "[ABbEeHiKklNnSsVv]{0,6}",
            before in prop::collection::vec("[A-Z]{1,4}=[a-z]{0,4}|-[ABbEHiknSs]{1,3}|-[CDpTu]x", 0..5),
            own in any::<bool>(),
        ) {
            let mut argv = vec!["sudo".to_owned()];
            argv.extend(before);
            if own {
                argv.push(format!("-{plain}gshadow"));
            } else {
                argv.extend([format!("-{plain}g"), "shadow".to_owned()]);
            }
            argv.push("cat".to_owned());
            prop_assert_eq!(asked("sudo", &argv, false), Asked::Group("shadow".to_owned()));
        }

        #[test]
        fn nothing_makes_it_stumble(argv in prop::collection::vec("\\PC{0,8}", 0..8), cut in any::<bool>()) {
            let _ = asked("sudo", &argv, cut);
        }
    }
}
