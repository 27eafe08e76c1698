//! Our path with connected viewers, which say what browsers say while they watch. Time is the feed's own: a frame is
//! 1/30 s, whatever the machine makes of it, so that everything that is due once a second comes once in 30 frames.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use bicast_sfu::fanout::Fanout;
use bicast_shared::clock;
use bicast_shared::packet::MediaPacket;
use quinn_udp::UdpSocketState;

use crate::clocks::thread_nanos;
use crate::source::Source;

/// Frames between two receiver reports of one viewer, and between two of its consent checks (Chromium: 1 s, 2.5 s).
const REPORTS: usize = 30;
const CHECKS: usize = 75;
const FRAME: Duration = Duration::from_nanos(1_000_000_000 / 30);
/// Packets with the playout-delay extension come first; they are not measured.
const WARM_UP: usize = 400;

/// The path.
pub(crate) struct Path {
    fanout: Fanout,
    sinks: Vec<UdpSocket>,
    now: Instant,
    frame: usize,
}

impl Path {
    pub(crate) fn new(viewers: usize) -> Result<Self> {
        let sinks = sinks(viewers)?;
        let remotes = addresses(&sinks)?;
        let fanout = Fanout::new(UdpSocket::bind("127.0.0.1:0")?, &remotes)?;
        Ok(Self { fanout, sinks, now: clock::now(), frame: 0 })
    }

    pub(crate) fn remotes(&self) -> Result<Vec<SocketAddr>> {
        addresses(&self.sinks)
    }

    /// Lets the viewers join.
    pub(crate) fn warm_up(&mut self, source: &mut Source) -> Result<()> {
        while source.sent() < WARM_UP || self.fanout.is_behind() {
            self.frame(&mut source.next())?;
            while self.fanout.is_behind() {
                self.now += Duration::from_millis(1);
                self.fanout.tick(self.now);
            }
        }
        Ok(())
    }

    /// Forwards a frame and does what else is due in its time. Returns the CPU time that took, in nanoseconds.
    pub(crate) fn frame(&mut self, packets: &mut Vec<MediaPacket>) -> Result<f64> {
        self.now += FRAME;
        self.frame += 1;
        self.viewers_say()?;
        let start = thread_nanos();
        self.fanout.receive(self.now);
        self.fanout.forward(self.now, packets);
        self.fanout.tick(self.now);
        if self.frame.is_multiple_of(REPORTS) {
            self.fanout.publish_counts();
        }
        Ok(thread_nanos() - start)
    }

    /// What those of the viewers say whose turn it is. Their own CPU time is not the server's.
    fn viewers_say(&mut self) -> Result<()> {
        let server = self.fanout.local();
        for (n, sink) in self.sinks.iter().enumerate() {
            let report = (n % REPORTS == self.frame % REPORTS).then(|| self.fanout.report(n)).flatten();
            let check = (n % CHECKS == self.frame % CHECKS).then(|| self.fanout.check(n)).flatten();
            for datagram in report.into_iter().chain(check) {
                sink.send_to(&datagram, server)?;
            }
        }
        Ok(())
    }

    /// Throws away what has come to the viewers, so that their sockets are like read ones.
    pub(crate) fn drain(&self) {
        let mut buffer = [0; 2_048];
        for sink in &self.sinks {
            while sink.recv(&mut buffer).is_ok() {}
        }
    }

    /// Packets sent and packets that the kernel did not take.
    pub(crate) const fn sent(&self) -> (u64, u64) {
        let (sent, dropped, _) = self.fanout.sent();
        (sent, dropped)
    }
}

fn sinks(count: usize) -> Result<Vec<UdpSocket>> {
    let bind = |_| {
        let sink = UdpSocket::bind("127.0.0.1:0")?;
        // Takes a run of datagrams in one piece (UDP_GRO), as the load generator's viewers do, which the peer connections of the
        // comparison are watched by: else the kernel would cut and deliver each by itself, on our account alone.
        UdpSocketState::new((&sink).into())?;
        Ok(sink)
    };
    (0..count)
        .map(bind)
        .collect::<std::io::Result<_>>()
        .context("cannot open a socket per viewer (ulimit -n?)")
}

fn addresses(sinks: &[UdpSocket]) -> Result<Vec<SocketAddr>> {
    Ok(sinks.iter().map(UdpSocket::local_addr).collect::<std::io::Result<_>>()?)
}
