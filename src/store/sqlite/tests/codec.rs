//! What is written is read back equal.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::super::codec::{EventRow, SpecRow, TaskRow, spec_body, spec_checksum};
use super::super::load::Specs;
use super::dice::Dice;
use super::*;
use crate::kernel::What;

proptest! {
    #[test]
    fn every_record_event_and_spec_is_read_back_equal(seed: u64) {
        let mut dice = Dice(seed);
        let record = dice.record();
        let event = dice.event();

        let row = spec_row(&record.spec);
        let spec = Specs::default().read(row).expect("it was just written");
        prop_assert_eq!(&spec, &record.spec);
        let read = TaskRow::write(&record, 1).read(spec).expect("it was just written");
        prop_assert_eq!(read, record);
        let read = EventRow::write(&event, 1).read(Arc::clone(&event.spec));
        prop_assert_eq!(read.expect("it was just written"), event);
    }

    #[test]
    fn changed_row_is_refused(seed: u64, place: prop::sample::Index, bit in 0..7_u8) {
        let record = Dice(seed).record();
        let mut row = TaskRow::write(&record, 1);
        let mut bytes = std::mem::take(&mut row.body).into_bytes();
        let place = place.index(bytes.len());
        bytes[place] ^= 1 << bit;
        row.body = String::from_utf8_lossy(&bytes).into_owned();
        prop_assert!(row.read(record.spec).is_err());
    }
}

fn spec_row(spec: &Spec) -> SpecRow {
    let (task, body) = (sample::id(1).to_string(), spec_body(spec));
    let checksum = spec_checksum(&task, &body);
    SpecRow {
        id: 1,
        task,
        body,
        checksum,
    }
}

#[test]
fn dice_come_to_every_event() {
    let names: BTreeSet<_> = (0..2_000)
        .map(|seed| Dice(seed).event().what.name())
        .collect();
    assert_eq!(names, What::NAMES.iter().copied().collect());
}

#[test]
fn plain_record_is_short() {
    let spec = Arc::new(sample::spec("store"));
    let record = sample::record(sample::id(1), &spec, State::Running, 1);
    let row = TaskRow::write(&record, 1);
    assert!(
        row.body.len() < 300,
        "{} bytes: {}",
        row.body.len(),
        row.body
    );
}
