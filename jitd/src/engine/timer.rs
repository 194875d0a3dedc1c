//! Wakes the engine at the next deadline, and whenever the wall clock is set (timerfd_create(2)).

use std::io;
use std::os::fd::OwnedFd;

use jit_proto::time::BootTime;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;

use super::handle::Handle;
use crate::core::clock_offset::ClockOffset;
use crate::core::input::Input;
use crate::host::clock::Clock;
use crate::host::sys::watched;

/// The time to which an idle timer is set, in seconds: it never expires, but notices that the clock is set.
const NEVER: i64 = 1 << 40;

/// Runs until the engine ends.
///
/// # Errors
/// When the kernel provides no timer.
pub async fn run(
    mut deadline: watch::Receiver<Option<BootTime>>,
    clock: Clock,
    engine: Handle,
) -> io::Result<()> {
    let mut offset = ClockOffset::starting_at(offset(&clock));
    let due = timer(TimerfdClockId::Boottime)?;
    let stepped = timer(TimerfdClockId::Realtime)?;
    watch_for_steps(&stepped)?;
    loop {
        tokio::select! {
            changed = deadline.changed() => {
                if changed.is_err() {
                    return Ok(());
                }
                let next = *deadline.borrow_and_update();
                // All zeros disarms a timer, so a deadline at zero is moved by a nanosecond.
                let at = next.map_or(0, |next| next.0.max(1));
                set(&due, micros(at), TimerfdTimerFlags::ABSTIME)?;
            }
            fired = due.readable() => {
                drain(&due);
                fired?.clear_ready();
                if engine.tell(Input::Tick).await.is_err() {
                    return Ok(());
                }
            }
            set = stepped.readable() => {
                drain(&stepped);
                set?.clear_ready();
                watch_for_steps(&stepped)?;
                let shift = offset.set_to(self::offset(&clock));
                let event = shift.map_or(Input::Tick, |by| Input::ClockSet { by });
                if engine.tell(event).await.is_err() {
                    return Ok(());
                }
            }
        }
    }
}

/// How far the wall clock is ahead of the boot clock, in microseconds.
fn offset(clock: &Clock) -> i64 {
    let now = clock.now();
    i64::try_from(i128::from(now.wall.0) - i128::from(now.boot.0)).unwrap_or(i64::MAX)
}

fn timer(clock: TimerfdClockId) -> io::Result<AsyncFd<OwnedFd>> {
    let timer = timerfd_create(clock, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)?;
    watched(timer, Interest::READABLE)
}

fn watch_for_steps(timer: &AsyncFd<OwnedFd>) -> io::Result<()> {
    let never = Timespec { tv_sec: NEVER, tv_nsec: 0 };
    set(timer, never, TimerfdTimerFlags::ABSTIME | TimerfdTimerFlags::CANCEL_ON_SET)
}

fn set(timer: &AsyncFd<OwnedFd>, at: Timespec, flags: TimerfdTimerFlags) -> io::Result<()> {
    let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: at };
    timerfd_settime(timer.get_ref(), flags, &once)?;
    Ok(())
}

/// Reads the count of expirations, or ECANCELED where the clock was set.
fn drain(timer: &AsyncFd<OwnedFd>) {
    let mut count = [0_u8; 8];
    let _ = rustix::io::read(timer.get_ref(), &mut count);
}

fn micros(at: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(at / 1_000_000).unwrap_or(NEVER),
        tv_nsec: i64::try_from(at % 1_000_000).unwrap_or(0) * 1000,
    }
}
