use proptest::prelude::*;

use super::*;

fn start() -> Instant {
    bicast_shared::clock::now()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn limited(kbps: u32) -> Network {
    Network { rate_kbps: Some(kbps), ..Network::default() }
}

fn way(network: Network) -> Way {
    Way::new(network, true, 7)
}

/// When a packet arrives; none where it is dropped.
fn arrives(way: &mut Way, now: Instant, size: usize) -> Option<Instant> {
    match way.packet(now, size) {
        Verdict::Arrives(at) => Some(at),
        Verdict::Dropped => None,
    }
}

#[test]
fn a_good_line_does_nothing() {
    let (mut way, now) = (way(Network::default()), start());
    assert_eq!(arrives(&mut way, now, 1_200), Some(now));
    let mut stream = Stream::default();
    assert_eq!(way.segment(now, &mut stream, SEGMENT), Arrival { at: now, held: false });
    assert_eq!((way.room_at(now, &stream), way.turn()), (None, LARGEST_READ));
}

#[test]
fn delay_is_each_packets_own_and_jitter_comes_on_top() {
    let now = start();
    let mut still = way(Network { delay_ms: 80, ..Network::default() });
    assert_eq!(arrives(&mut still, now, 1_200), Some(now + ms(80)));
    let mut shaky = way(Network { delay_ms: 80, jitter_ms: 50, ..Network::default() });
    let late: Vec<Duration> =
        (0..2_000).filter_map(|_| arrives(&mut shaky, now, 100)).map(|at| at - now - ms(80)).collect();
    assert_eq!(late.len(), 2_000);
    let mean = late.iter().sum::<Duration>().as_secs_f64() / 2_000.0;
    // Uniform over 0 to 50 ms: the mean of 2,000 is within 25 ms ± 5 of its own deviations (0.32 ms).
    assert!((0.0234..0.0266).contains(&mean), "{mean}");
    assert!(late.iter().max() > Some(&ms(48)) && late.iter().max() <= Some(&ms(50)));
    assert!(late.iter().min() < Some(&ms(2)));
}

#[test]
fn the_share_that_is_lost_is_the_one_that_was_asked_for() {
    for ratio in [0.0, 0.01, 0.3, 1.0] {
        let mut way = way(Network { loss_ratio: ratio, ..Network::default() });
        let now = start();
        let mut lost = 0;
        for _ in 0..20_000 {
            match way.packet(now, 100) {
                Verdict::Arrives(_) => way.arrived(100),
                Verdict::Dropped => lost += 1,
            }
        }
        let five_deviations = 5.0 * (20_000.0 * ratio * (1.0 - ratio)).sqrt();
        let off = (f64::from(lost) - 20_000.0 * ratio).abs();
        assert!(off <= five_deviations, "{ratio}: {lost}");
    }
}

#[test]
fn a_full_queue_drops_its_tail_and_an_idle_link_takes_anything() {
    let (mut way, now) = (way(limited(80)), start());
    // 80 kbit/s are 10 bytes a millisecond: 250 ms are 2,500 bytes.
    let taken = (0..100).filter(|_| arrives(&mut way, now, 100).is_some()).count();
    assert_eq!(taken, 25);
    assert_eq!(arrives(&mut way, now + ms(9), 100), None);
    assert_eq!(arrives(&mut way, now + ms(10), 100), Some(now + ms(260)), "one has left");
    assert_eq!(arrives(&mut way, now + ms(1_000), 2_600), Some(now + ms(1_260)), "larger than the queue");
    assert_eq!(arrives(&mut way, now + ms(1_000), 10), None);
}

#[test]
fn the_rate_is_the_viewers_way_only() {
    let now = start();
    let mut up = Way::new(limited(64), false, 7);
    assert!((0..1_000).all(|_| arrives(&mut up, now, 1_200) == Some(now)));
    assert_eq!(up.turn(), LARGEST_READ);
}

#[test]
fn what_is_under_way_is_bounded() {
    let (mut way, now) = (way(Network { delay_ms: 2_000, ..Network::default() }), start());
    let taken = (0..10_000).filter(|_| arrives(&mut way, now, 1_000).is_some()).count();
    assert_eq!(taken, MOST_UNDER_WAY / 1_128);
    way.arrived(1_000);
    assert!(arrives(&mut way, now, 1_000).is_some());
    assert!(arrives(&mut way, now, 1_000).is_none());
}

#[test]
fn a_change_holds_at_once() {
    let (mut way, now) = (way(limited(80)), start());
    let mut stream = Stream::default();
    assert_eq!(way.segment(now, &mut stream, 1_000).at, now + ms(100));
    // Ten times as fast: what waits takes a tenth of its time.
    way.change(now, limited(800));
    assert_eq!(arrives(&mut way, now, 1_000), Some(now + ms(20)));
    way.change(now, Network { udp: false, ..limited(800) });
    assert!(!way.lets_udp_pass() && arrives(&mut way, now, 10).is_none());
    way.change(now, Network { delay_ms: 30, ..Network::default() });
    assert_eq!(arrives(&mut way, now, 10), Some(now + ms(30)), "no link, no queue");
    let behind = way.segment(now, &mut stream, 10).at;
    assert_eq!(behind, now + ms(100), "never before the segment that went before it");
    way.change(now, limited(80));
    assert_eq!(arrives(&mut way, now, 100), Some(now + ms(10)));
}

#[test]
fn a_lost_segment_holds_its_own_connection_and_no_other() {
    for (delay_ms, hold) in [(0, 200), (20, 200), (100, 400), (2_000, 8_000)] {
        let (mut way, now) = (way(Network { loss_ratio: 1.0, delay_ms, ..Network::default() }), start());
        let (mut one, mut other) = (Stream::default(), Stream::default());
        let at = now + ms(u64::from(delay_ms)) + ms(hold);
        assert_eq!(way.segment(now, &mut one, SEGMENT), Arrival { at, held: true }, "{delay_ms} ms");
        assert_eq!(way.room_at(now, &one), Some(at), "nothing more is taken meanwhile");
        assert_eq!((way.room_at(at, &one), way.room_at(now, &other)), (None, None));
        way.change(now, Network::default());
        assert_eq!(way.segment(now, &mut one, SEGMENT), Arrival { at, held: false });
        assert_eq!(way.segment(now, &mut other, SEGMENT), Arrival { at: now, held: false });
    }
}

#[test]
fn tcp_waits_for_the_link_and_leaves_udp_room() {
    let (mut way, now) = (way(limited(1_000)), start());
    let mut stream = Stream::default();
    assert_eq!(way.turn(), 2_500, "20 ms");
    let mut taken = 0;
    while way.room_at(now, &stream).is_none() {
        way.segment(now, &mut stream, SEGMENT);
        taken += SEGMENT;
    }
    assert!((12_500..=12_500 + SEGMENT).contains(&taken), "{taken} bytes for 100 ms");
    assert!(arrives(&mut way, now, 1_200).is_some());
    let later = way.room_at(now, &stream).unwrap();
    assert!(later > now && later < now + ms(40));
    assert_eq!(way.room_at(later, &stream), None);
    let (slow, fast) = (Way::new(limited(64), true, 7), Way::new(limited(100_000), true, 7));
    assert_eq!((slow.turn(), fast.turn()), (SEGMENT, LARGEST_READ));
}

fn network() -> impl Strategy<Value = Network> {
    let rate = proptest::option::of(64_u32..=100_000);
    (0.0..=1.0, 0_u32..=2_000, 0_u32..=500, rate, proptest::bool::weighted(0.9)).prop_map(
        |(loss_ratio, delay_ms, jitter_ms, rate_kbps, udp)| Network {
            loss_ratio,
            delay_ms,
            jitter_ms,
            rate_kbps,
            udp,
        },
    )
}

proptest! {
    /// Whatever comes when: in no stretch of time does more arrive than the rate allows, and nobody waits longer than the queue is.
    #[test]
    fn the_rate_is_kept_and_the_queue_is_bounded(
        kbps in 64_u32..=100_000,
        packets in proptest::collection::vec((0_u64..30_000, 1_usize..1_500), 1..300),
    ) {
        let (mut way, begin) = (way(limited(kbps)), start());
        let (mut now, mut arrived) = (begin, Vec::new());
        for (later, size) in packets {
            now += Duration::from_micros(later);
            if let Some(at) = arrives(&mut way, now, size) {
                let own = takes(size, u64::from(kbps) * 1_000);
                prop_assert!(at - now <= LONGEST_QUEUE.max(own), "it waits {:?}", at - now);
                prop_assert!(at - now >= own);
                arrived.push((at, size));
            }
        }
        prop_assert!(arrived.windows(2).all(|pair| pair[0].0 <= pair[1].0), "a link is a queue");
        let bits_within = |from: usize, to: usize| arrived[from + 1..=to].iter().map(|(_, size)| size * 8).sum::<usize>();
        for from in 0..arrived.len().saturating_sub(1) {
            let to = arrived.len() - 1;
            let seconds = (arrived[to].0 - arrived[from].0).as_secs_f64();
            // Each packet's time is rounded down to a nanosecond.
            let most = (seconds + 300e-9) * f64::from(kbps) * 1_000.0;
            prop_assert!(bits_within(from, to) as f64 <= most, "{} bits in {seconds} s", bits_within(from, to));
        }
    }

    /// A link that always has something to do carries its whole rate.
    #[test]
    fn the_rate_is_used(kbps in 64_u32..=100_000) {
        let (mut way, begin) = (way(limited(kbps)), start());
        let (mut now, mut bytes) = (begin, 0_usize);
        let mut stream = Stream::default();
        while now < begin + ms(5_000) {
            match way.room_at(now, &stream) {
                // Timers are a millisecond late.
                Some(at) => now = at + ms(1),
                None => {
                    let mut left = way.turn();
                    bytes += left;
                    while left > 0 {
                        let size = left.min(SEGMENT);
                        way.segment(now, &mut stream, size);
                        left -= size;
                    }
                }
            }
        }
        let share = bytes as f64 * 8.0 / (f64::from(kbps) * 1_000.0 * 5.0);
        prop_assert!((0.99..1.09).contains(&share), "{share}");
    }

    /// However the network changes, what a connection sent arrives in its order.
    #[test]
    fn tcp_is_never_reordered(
        steps in proptest::collection::vec((0_u64..500, 1_usize..=SEGMENT, proptest::option::weighted(0.2, network())), 1..200),
    ) {
        let (mut way, mut now) = (way(Network::default()), start());
        let (mut stream, mut last) = (Stream::default(), None);
        for (later, size, change) in steps {
            now += ms(later);
            if let Some(network) = change {
                way.change(now, network);
            }
            let arrival = way.segment(now, &mut stream, size);
            prop_assert!(Some(arrival.at) >= last && arrival.at >= now);
            last = Some(arrival.at);
        }
    }

    /// What is under way comes to nothing when all has arrived.
    #[test]
    fn bytes_under_way_are_counted_both_ways(network in network(), sizes in proptest::collection::vec(1_usize..2_000, 0..100)) {
        let (mut way, now) = (way(network), start());
        let taken: Vec<usize> = sizes.into_iter().filter(|size| arrives(&mut way, now, *size).is_some()).collect();
        prop_assert_eq!(way.under_way, taken.iter().map(|size| size + KEEPING).sum::<usize>());
        taken.into_iter().for_each(|size| way.arrived(size));
        prop_assert_eq!(way.under_way, 0);
    }
}
