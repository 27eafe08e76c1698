//! `bicast publish`: sessions one after the other, until it is told to stop.

use std::time::Duration;

use bicast_shared::clock;
use tokio::sync::watch;

use crate::args::Args;
use crate::core::retry::Backoff;
use crate::core::stats::{State, Totals};
use crate::display::Display;
use crate::session::{self, Watcher};
use crate::source::Input;
use crate::whip::Whip;

/// Runs `bicast publish` until it is interrupted (Ctrl-C, SIGTERM), its time is over, or it fails for good.
///
/// # Errors
/// What went wrong, in words that say the next step.
pub async fn run(args: Args) -> anyhow::Result<()> {
    let (stop_tx, stop) = watch::channel(false);
    let signals = tokio::spawn(async move {
        interrupted().await;
        stop_tx.send_replace(true);
        // A second Ctrl-C does not wait for the server's good-bye.
        interrupted().await;
        std::process::exit(130);
    });
    let result = publish(args, stop).await;
    signals.abort();
    result
}

/// Publishes until `stop` turns true: [`run`] without the signals, for programs that publish.
///
/// # Errors
/// As [`run`].
pub async fn publish(args: Args, mut stop: watch::Receiver<bool>) -> anyhow::Result<()> {
    // Reading a file's tables may take a moment on a slow disk.
    let opened = {
        let args = args.clone();
        tokio::task::spawn_blocking(move || args.input()).await??
    };
    let whip = Whip::new(args.whip.clone(), args.token.clone())?;
    let mut show = Show { display: Display::new(args.quiet, args.json) };
    if let Input::Clips(clips) = &opened {
        for advice in clips.iter().flat_map(crate::source::Clip::advice) {
            show.display.warn(&advice);
        }
    }
    show.display.say(&format!("Publishing {} to {}", opened.describe(), args.whip));

    let until = args.duration.map(|duration| clock::now() + duration);
    let mut backoff = Backoff::default();
    let mut last = Totals::default();
    let result = loop {
        show.display.wait(State::Connecting, "Connecting ...");
        let ended = session::run(&opened, &whip, stop.clone(), until, &mut show).await;
        if ended.lasted > Duration::ZERO {
            last = ended.totals;
        }
        let Err(error) = ended.result else { break Ok(()) };
        if !args.retry || !error.may_pass() {
            break Err(error);
        }
        let wait = backoff.after(ended.lasted, error.retry_after(), rand::random());
        let text = error.to_string();
        show.display.warn(text.lines().next().unwrap_or_default());
        show.display.wait(State::Waiting, &format!("Trying again in {:.1} s ...", wait.as_secs_f64()));
        let over = until.is_some_and(|until| clock::now() + wait >= until);
        let asleep = tokio::time::timeout(wait, stop.wait_for(|&stop| stop)).await;
        if over || asleep.is_ok() {
            break Ok(());
        }
    };
    show.display.finish(&last);
    if result.is_ok() {
        show.display.say("Stopped.");
    }
    Ok(result?)
}

struct Show {
    display: Display,
}

impl Watcher for Show {
    fn connected(&mut self, after: Duration) {
        self.display.say(&format!("Connected after {} ms.", after.as_millis()));
    }

    fn tick(&mut self, state: State, totals: &Totals) {
        self.display.numbers(state, totals);
    }
}

async fn interrupted() {
    let terminated = async {
        #[cfg(unix)]
        if let Ok(mut signal) = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            signal.recv().await;
            return;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminated => {}
    }
}
