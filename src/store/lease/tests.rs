//! The lease as a value: every ask in every situation, every order of few of them, and what an
//! observer and a holder make of their own clocks.

use std::collections::BTreeSet;

use super::*;

const TTL: Duration = Duration::from_secs(30);
const OWNERS: [Owner; 2] = [Owner(1), Owner(2)];

fn at(seconds: u64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000)
}

fn claim(owner: Owner, instead_of: Lease) -> LeaseAsk {
    LeaseAsk::Claim {
        owner,
        ttl: TTL,
        instead_of,
    }
}

/// A store and two managers that may sleep for as long as they like between any two steps.
#[derive(Clone, Default)]
struct World {
    lease: Lease,
    /// What each one saw last, and holds as far as it knows.
    managers: [(Lease, Option<Holder>); 2],
    epochs: BTreeSet<u64>,
}

const STEPS: [&str; 5] = ["look", "claim", "renew", "release", "write"];

impl World {
    /// Takes a step of one of them, and checks what must hold after each.
    fn step(&mut self, who: usize, step: &str) {
        let before = self.lease;
        let (seen, held) = self.managers[who];
        let ask = match (step, held) {
            ("look", _) => Some(LeaseAsk::Look),
            ("claim", _) => Some(claim(OWNERS[who], seen)),
            ("renew", Some(holder)) => Some(LeaseAsk::Renew(holder)),
            ("release", Some(holder)) => Some(LeaseAsk::Release(holder)),
            _ => None,
        };
        if let Some(ask) = ask {
            self.ask(who, &ask);
        }
        let writers = self.managers.iter().filter_map(|(_, held)| *held);
        let writers = writers.filter(|holder| self.lease.check(Some(*holder)).is_ok());
        assert!(writers.count() <= 1, "two may write");
        assert!(self.lease.epoch >= before.epoch);
        assert!(self.lease == before || self.lease.renewal == before.renewal + 1);
        let by_nobody = self.lease.check(None);
        assert_eq!(by_nobody.is_ok(), self.lease.owner.is_none());
    }

    fn ask(&mut self, who: usize, ask: &LeaseAsk) {
        let before = self.lease;
        let (seen, held) = &mut self.managers[who];
        match (ask, before.after(ask)) {
            (LeaseAsk::Look, Ok(lease)) => *seen = lease,
            (LeaseAsk::Claim { .. }, Ok(lease)) => {
                assert_eq!(*seen, before, "it was not the one that was seen");
                assert!(self.epochs.insert(lease.epoch), "an epoch was given twice");
                (*seen, *held) = (lease, lease.holder());
                self.lease = lease;
            }
            (LeaseAsk::Renew(_) | LeaseAsk::Release(_), Ok(lease)) => {
                assert_eq!(before.holder(), *held, "it was somebody else's");
                self.lease = lease;
            }
            (LeaseAsk::Claim { .. }, Err(StoreError::Held { lease })) => {
                assert_ne!(*seen, before);
                *seen = lease;
            }
            (LeaseAsk::Renew(_) | LeaseAsk::Release(_), Err(StoreError::Fenced { lease })) => {
                assert_ne!(before.holder(), *held);
                assert_eq!(lease, before);
                *held = None;
            }
            (ask, other) => panic!("{ask:?} of {before:?} gave {other:?}"),
        }
    }

    fn explore(&self, depth: u32) -> u64 {
        if depth == 0 {
            return 1;
        }
        let mut orders = 0;
        for who in [0, 1] {
            for step in STEPS {
                let mut next = self.clone();
                next.step(who, step);
                orders += next.explore(depth - 1);
            }
        }
        orders
    }
}

#[test]
fn in_every_order_of_six_steps_epochs_grow_and_one_may_write() {
    assert_eq!(World::default().explore(6), 10_u64.pow(6));
}

#[test]
fn holder_that_was_taken_over_never_writes_again() {
    let first = Lease::default()
        .after(&claim(OWNERS[0], Lease::default()))
        .expect("nobody holds it");
    let mut lease = first;
    for owner in [OWNERS[1], OWNERS[0], OWNERS[1]] {
        lease = lease.after(&claim(owner, lease)).expect("it was seen");
        let refused = lease.check(first.holder());
        assert!(matches!(refused, Err(StoreError::Fenced { .. })));
        assert!(lease.check(lease.holder()).is_ok());
    }
}

#[test]
fn observer_claims_what_is_nobodys_at_once() {
    let mut watch = Watch::default();
    assert_eq!(watch.see(Lease::default(), at(5)), Verdict::Claim);
    let mut lease = Lease::default()
        .after(&claim(OWNERS[0], Lease::default()))
        .expect("nobody holds it");
    assert!(matches!(watch.see(lease, at(6)), Verdict::Wait(_)));
    let holder = lease.holder().expect("it was claimed");
    lease = lease.after(&LeaseAsk::Release(holder)).expect("its own");
    assert_eq!(watch.see(lease, at(6)), Verdict::Claim);
}

#[test]
fn observer_claims_exactly_when_the_time_and_the_drift_are_over() {
    let lease = Lease {
        owner: Some(OWNERS[0]),
        epoch: 3,
        renewal: 9,
        ttl: TTL,
    };
    let mut watch = Watch::default();
    let over = at(100).after(TTL).after(DRIFT_MAX);
    let before = Timestamp::from_micros(over.as_micros() - 1);
    assert_eq!(watch.see(lease, at(100)), Verdict::Wait(over));
    assert_eq!(watch.see(lease, before), Verdict::Wait(over));
    assert_eq!(watch.see(lease, over), Verdict::Claim);
}

/// A holder that renews or not in each second, and an observer that looks or not: the observer
/// never takes over what was renewed within the time, and always what was not.
#[test]
fn observer_and_holder_agree_in_every_pattern_of_renewals_and_looks() {
    let ttl = Duration::from_secs(3);
    let wait = ttl + DRIFT_MAX;
    let seconds = 9_u64;
    for pattern in 0_u32..1 << (2 * seconds) {
        let mut lease = Lease {
            owner: Some(OWNERS[0]),
            epoch: 1,
            renewal: 1,
            ttl,
        };
        let mut tenure = Tenure::new(lease.holder().expect("it is held"), ttl, at(0));
        let mut watch = Watch::default();
        let mut looks: Vec<(u64, u64)> = Vec::new();
        for second in 1..=seconds {
            let bits = pattern >> (2 * (second - 1));
            // Who has ended renews no more.
            if bits & 1 == 1 && at(second) < tenure.over() {
                lease = lease
                    .after(&LeaseAsk::Renew(tenure.holder()))
                    .expect("it is its own");
                tenure.renewed(at(second));
            }
            if bits & 2 == 2 {
                looks.push((second, lease.renewal));
                let first = looks.iter().find(|(_, renewal)| *renewal == lease.renewal);
                let (first, _) = first.expect("it was just seen");
                let is_due = at(second).since(at(*first)) >= wait;
                let verdict = watch.see(lease, at(second));
                assert_eq!(verdict == Verdict::Claim, is_due, "{pattern:b}");
                // Even with a clock that is as much ahead as it may be.
                assert!(!is_due || at(second) >= tenure.over().after(DRIFT_MAX));
            }
        }
    }
}

#[test]
fn holder_renews_twice_more_before_it_ends_and_ends_before_anybody_may_claim() {
    for ttl in [3, 8, 30, 600].map(Duration::from_secs) {
        let holder = Holder {
            owner: OWNERS[0],
            epoch: 1,
        };
        let mut tenure = Tenure::new(holder, ttl, at(100));
        assert_eq!(tenure.due(), at(100).after(ttl / 3));
        assert!(tenure.due().after(ttl / 3) <= tenure.over());
        assert!(tenure.over() < at(100).after(ttl));
        assert!(tenure.retry(tenure.due()) > tenure.due());
        tenure.renewed(at(110));
        tenure.renewed(at(105));
        assert_eq!(tenure.due(), at(110).after(ttl / 3), "the later one counts");
    }
}

#[test]
fn owners_are_written_as_they_are_read() {
    let owner = Owner::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);
    assert_eq!(owner.to_string().parse(), Ok(owner));
    assert!("somebody".parse::<Owner>().is_err());
    let lease = Lease {
        owner: Some(owner),
        epoch: 7,
        ..Lease::default()
    };
    let text = "manager 01234567-89ab-cdef-0123-456789abcdef (epoch 7)";
    assert_eq!(lease.to_string(), text);
    assert_eq!(Lease::default().to_string(), "nobody (epoch 0)");
}
