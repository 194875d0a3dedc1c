# Run as root inside a window: a tree of processes that does what it can to stay. tree.pl COUNT [hostile]
# All of them hold the FIFO /var/tmp/line; a line in it says that they are there.
use strict;
use warnings;
use POSIX ();

my ($count, $hostile) = @ARGV;
$^F = 255;    # what is opened here stays open in what is executed
$SIG{CHLD} = 'IGNORE';
open(my $line, '>', '/var/tmp/line') or die "/var/tmp/line: $!";

sub stay { POSIX::pause() while 1 }

# Polite ones would be gone before the kill, which is what is measured.
$SIG{TERM} = $SIG{HUP} = $SIG{INT} = 'IGNORE';
for my $n (1 .. $count) {
    my $pid = fork() // die "fork: $!";
    next if $pid;
    POSIX::setsid() if $n % 3 == 0;
    if ($n % 5 == 0) {    # forked twice, so that its parent is gone
        exit 0 if fork();
    }
    stay();
}

if ($hostile) {
    my @ways = (
        'exec nohup sleep 1000 >/dev/null 2>&1',
        'kill -STOP $$; exec sleep 1000',
        'mkdir -p /sys/fs/cgroup/evil && echo 0 >/sys/fs/cgroup/evil/cgroup.procs && echo >/var/tmp/moved && exec sleep 1001',
        'exec unshare --pid --fork --mount-proc sleep 1000',
        'exec nsenter --target 1 --mount --uts sleep 1000',
        'exec setsid bash -c "trap \'\' TERM HUP INT; while :; do sleep 1; done"',
    );
    for my $way (@ways) {
        next if fork();
        exec('bash', '-c', $way) or die "exec: $!";
    }
    # A storm: each process of it forks the next one and ends at once, so that no list of pids is ever true.
    for (1 .. 4) {
        next if fork();
        while (1) {
            my $pid = fork() // next;
            POSIX::_exit(0) if $pid;
        }
    }
}

syswrite($line, "here\n");
stay();
