//! Parses times of expiry: options (EX, PX, EXAT, PXAT) and arguments of a fixed position (SETEX, EXPIRE, …).

use crate::base::number;
use crate::reply::Error;

const MS_A_SECOND: i64 = 1000;

/// The unit and the base of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Notation {
    /// EX, SETEX, EXPIRE.
    SecondsFromNow,
    /// PX, PSETEX, PEXPIRE.
    MillisecondsFromNow,
    /// EXAT, EXPIREAT.
    UnixSeconds,
    /// PXAT, PEXPIREAT.
    UnixMilliseconds,
}

impl Notation {
    const OPTIONS: [(&'static [u8], Notation); 4] = [
        (b"EX", Notation::SecondsFromNow),
        (b"PX", Notation::MillisecondsFromNow),
        (b"EXAT", Notation::UnixSeconds),
        (b"PXAT", Notation::UnixMilliseconds),
    ];

    fn of_option(option: &[u8]) -> Option<Notation> {
        Notation::OPTIONS.iter().find(|(name, _)| name.eq_ignore_ascii_case(option)).map(|(_, notation)| *notation)
    }

    /// Whether a positive time may lie in the past.
    pub fn is_absolute(self) -> bool {
        matches!(self, Notation::UnixSeconds | Notation::UnixMilliseconds)
    }

    /// A time of any sign, as EXPIRE takes it, in Unix milliseconds. `command` is named in the error for what does not
    /// fit an `i64`.
    pub fn unix_ms(self, count: i64, now_ms: u64, command: &str) -> Result<i64, Error> {
        let count_ms = match self {
            Notation::SecondsFromNow | Notation::UnixSeconds => count.checked_mul(MS_A_SECOND),
            Notation::MillisecondsFromNow | Notation::UnixMilliseconds => Some(count),
        };
        let origin_ms = if self.is_absolute() { 0 } else { now_ms };
        count_ms.and_then(|count_ms| count_ms.checked_add_unsigned(origin_ms)).ok_or_else(|| invalid(command))
    }

    /// Reads a time as SET takes it, which must be positive as it is written, into Unix milliseconds.
    pub fn positive_unix_ms(self, text: &[u8], now_ms: u64, command: &str) -> Result<u64, Error> {
        let count = number::parse_i64(text).ok_or(Error::NOT_AN_INTEGER)?;
        if count <= 0 {
            return Err(invalid(command));
        }
        u64::try_from(self.unix_ms(count, now_ms, command)?).map_err(|_| invalid(command))
    }
}

fn invalid(command: &str) -> Error {
    Error::owned(format!("ERR invalid expire time in '{command}' command"))
}

/// The time among the options of SET and GETEX. There may be one notation only; if it is given twice, the last time
/// counts.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeOption<'a>(Option<(Notation, &'a [u8])>);

impl<'a> TimeOption<'a> {
    /// Reads `option` and the argument after it if it is a time; returns whether it is.
    ///
    /// # Errors
    /// A syntax error if the time is missing, or if there was one in another notation before.
    pub fn accept(&mut self, option: &[u8], next: Option<&'a [u8]>) -> Result<bool, Error> {
        let Some(notation) = Notation::of_option(option) else { return Ok(false) };
        if self.0.is_some_and(|(other, _)| other != notation) {
            return Err(Error::SYNTAX);
        }
        self.0 = Some((notation, next.ok_or(Error::SYNTAX)?));
        Ok(true)
    }

    pub fn get(&self) -> Option<(Notation, &'a [u8])> {
        self.0
    }

    pub fn is_given(&self) -> bool {
        self.0.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: u64 = 1_700_000_000_000;

    #[test]
    fn a_time_of_any_sign_is_converted_or_refused_where_it_overflows() {
        let read = |notation: Notation, count: i64| notation.unix_ms(count, NOW_MS, "expire");
        assert_eq!(read(Notation::SecondsFromNow, -1), Ok(NOW_MS as i64 - 1000));
        assert_eq!(read(Notation::MillisecondsFromNow, 5), Ok(NOW_MS as i64 + 5));
        assert_eq!(read(Notation::UnixSeconds, -9_223_372_036_854_775), Ok(-9_223_372_036_854_775_000));
        assert_eq!(read(Notation::UnixMilliseconds, i64::MAX), Ok(i64::MAX));
        let invalid = Error::new("ERR invalid expire time in 'expire' command");
        for (notation, count) in [
            (Notation::UnixSeconds, 9_223_372_036_854_776),
            (Notation::UnixSeconds, -9_223_372_036_854_776),
            (Notation::SecondsFromNow, 9_223_372_036_854_775),
            (Notation::MillisecondsFromNow, i64::MAX),
        ] {
            assert_eq!(read(notation, count), Err(invalid.clone()), "{notation:?} {count}");
        }
    }

    #[test]
    fn a_time_to_set_is_positive() {
        let read = |notation: Notation, text: &str| notation.positive_unix_ms(text.as_bytes(), NOW_MS, "set").ok();
        assert_eq!(read(Notation::UnixSeconds, "1"), Some(1000));
        assert_eq!(read(Notation::SecondsFromNow, "1"), Some(NOW_MS + 1000));
        assert_eq!(Notation::UnixSeconds.positive_unix_ms(b"1.5", NOW_MS, "set"), Err(Error::NOT_AN_INTEGER));
        for notation in Notation::OPTIONS.map(|(_, notation)| notation) {
            for text in ["0", "-1", "-9223372036854775808", "9223372036854775808"] {
                assert_eq!(read(notation, text), None, "{notation:?} {text}");
            }
        }
    }

    #[test]
    fn one_notation_may_be_repeated_but_not_mixed() {
        let mut time = TimeOption::default();
        assert_eq!(time.accept(b"NX", None), Ok(false));
        assert!(!time.is_given());
        assert_eq!(time.accept(b"ex", Some(b"1")), Ok(true));
        assert_eq!(time.accept(b"EX", Some(b"2")), Ok(true));
        assert_eq!(time.get(), Some((Notation::SecondsFromNow, b"2".as_slice())));
        assert_eq!(time.accept(b"PX", Some(b"2")), Err(Error::SYNTAX));
        assert_eq!(TimeOption::default().accept(b"PXAT", None), Err(Error::SYNTAX));
    }
}
