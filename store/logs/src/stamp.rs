//! The first column: `2026-01-02T03:04:05.123456+00:00`, always 32 bytes, always UTC.

use jiff::Timestamp;
use jiff::tz::Offset;

pub(crate) const LEN: usize = 32;

/// The stamp of a time; times no calendar has become the nearest it has.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    text: [u8; LEN],
    second: i64,
}

impl Default for Stamp {
    fn default() -> Self {
        Self { text: [b'0'; LEN], second: i64::MIN }
    }
}

impl Stamp {
    /// Writes a time into the buffer. Lines of the same second only change six digits.
    pub(crate) fn set(&mut self, micros: i64) -> &[u8] {
        let second = micros.div_euclid(1_000_000);
        if second != self.second {
            let time = Timestamp::from_second(second).unwrap_or(Timestamp::MAX);
            let civil = Offset::UTC.to_datetime(time);
            let year = civil.year().clamp(0, 9999).cast_unsigned();
            self.text.copy_from_slice(b"0000-00-00T00:00:00.000000+00:00");
            digits(&mut self.text[0..4], u32::from(year));
            digits(&mut self.text[5..7], u32::from(civil.month().cast_unsigned()));
            digits(&mut self.text[8..10], u32::from(civil.day().cast_unsigned()));
            digits(&mut self.text[11..13], u32::from(civil.hour().cast_unsigned()));
            digits(&mut self.text[14..16], u32::from(civil.minute().cast_unsigned()));
            digits(&mut self.text[17..19], u32::from(civil.second().cast_unsigned()));
            self.second = second;
        }
        digits(&mut self.text[20..26], micros.rem_euclid(1_000_000) as u32);
        &self.text
    }
}

fn digits(into: &mut [u8], mut value: u32) {
    for digit in into.iter_mut().rev() {
        *digit = b'0' + (value % 10) as u8;
        value /= 10;
    }
}

/// Whether a line starts with a stamp.
pub(crate) fn is_stamped(line: &[u8]) -> bool {
    const SHAPE: &[u8; LEN] = b"0000-00-00T00:00:00.000000+00:00";
    line.len() > LEN
        && line[LEN] == b' '
        && line[..LEN].iter().zip(SHAPE).all(|(got, want)| if *want == b'0' { got.is_ascii_digit() } else { got == want })
}

/// The time of a stamp, in microseconds since 1970.
pub(crate) fn micros(stamp: &str) -> Option<i64> {
    stamp.parse::<Timestamp>().ok().map(Timestamp::as_microsecond)
}
