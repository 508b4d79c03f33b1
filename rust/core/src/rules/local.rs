//! Local time, as values: time of day, weekday and date at an account's offset from UTC.

use super::form::{invalid, text_form};
use super::operator::Operand;
use crate::refusal::Refusal;
use crate::time::Timestamp;
use std::fmt;
use std::str::FromStr;

/// The clock on the wall of who is asked, and their calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// Hours and minutes.
    pub time: TimeOfDay,
    /// The day of the week.
    pub day: Weekday,
    /// The date.
    pub date: Date,
}

impl LocalTime {
    /// This moment, so many minutes ahead of UTC. What the calendar of [`Date`] does not reach is its first or last day.
    pub fn at(moment: Timestamp, offset_minutes: i16) -> Self {
        let minutes = moment.0.div_euclid(60_000) + i64::from(offset_minutes);
        let days = minutes.div_euclid(TimeOfDay::MINUTES);
        let date = Date(days.clamp(Date::FIRST.0.into(), Date::LAST.0.into()) as i32);
        let time = TimeOfDay(minutes.rem_euclid(TimeOfDay::MINUTES) as u16);
        // 1970-01-01 was a Thursday.
        LocalTime { time, day: Weekday::ALL[(days + 3).rem_euclid(7) as usize], date }
    }
}

/// A time of day, to the minute: `17:30`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(u16);

impl TimeOfDay {
    const MINUTES: i64 = 24 * 60;
    /// The first minute of a day.
    pub const FIRST: TimeOfDay = TimeOfDay(0);
    /// The last minute of a day.
    pub const LAST: TimeOfDay = TimeOfDay(24 * 60 - 1);
}

impl FromStr for TimeOfDay {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parsed = (|| {
            let (hours, minutes) = text.split_once(':')?;
            let (hours, minutes): (u16, u16) = (digits(hours, 2)?, digits(minutes, 2)?);
            (hours < 24 && minutes < 60).then_some(TimeOfDay(hours * 60 + minutes))
        })();
        parsed.ok_or_else(|| invalid(format!("{text:?} is no time of day: write HH:MM, from 00:00 to 23:59")))
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

text_form!(TimeOfDay, "pattern": "^([01][0-9]|2[0-3]):[0-5][0-9]$");

/// A day of the week: `Mon`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weekday {
    /// Monday.
    Mon,
    /// Tuesday.
    Tue,
    /// Wednesday.
    Wed,
    /// Thursday.
    Thu,
    /// Friday.
    Fri,
    /// Saturday.
    Sat,
    /// Sunday.
    Sun,
}

impl Weekday {
    /// Every day, Monday first.
    pub const ALL: [Weekday; 7] =
        [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];
}

impl FromStr for Weekday {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let known = |day: &Weekday| day.to_string().eq_ignore_ascii_case(text);
        Weekday::ALL
            .into_iter()
            .find(known)
            .ok_or_else(|| invalid(format!("{text:?} is none of Mon, Tue, Wed, Thu, Fri, Sat, Sun")))
    }
}

impl fmt::Display for Weekday {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Operand for Weekday {
    type Found<'f> = Weekday;

    fn covers(&self, found: Weekday) -> bool {
        *self == found
    }
}

text_form!(Weekday, "enum": ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]);

/// A date of the Gregorian calendar, from 0001-01-01 to 9999-12-31: days since 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(i32);

impl Date {
    /// 0001-01-01.
    pub const FIRST: Date = Date(-719_162);
    /// 9999-12-31.
    pub const LAST: Date = Date(2_932_896);

    /// Howard Hinnant's `days_from_civil`, for a date of which nobody knows yet whether it exists.
    const fn from_civil(year: i32, month: i32, day: i32) -> Date {
        let year = if month <= 2 { year - 1 } else { year };
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        Date(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
    }

    /// Howard Hinnant's `civil_from_days`: year, month, day.
    const fn civil(self) -> (i32, i32, i32) {
        let days = self.0 + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        (year + era * 400 + if month <= 2 { 1 } else { 0 }, month, day)
    }
}

impl FromStr for Date {
    type Err = Refusal;

    fn from_str(text: &str) -> Result<Self, Refusal> {
        let parsed = (|| {
            let mut parts = text.splitn(3, '-');
            let mut part = |count| digits(parts.next()?, count).map(i32::from);
            let civil = (part(4)?, part(2)?, part(2)?);
            let date = Date::from_civil(civil.0, civil.1, civil.2);
            // What does not exist comes back as another day.
            (civil.0 > 0 && date.civil() == civil).then_some(date)
        })();
        parsed.ok_or_else(|| invalid(format!("{text:?} is no date: write YYYY-MM-DD, of a day that exists")))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        write!(f, "{year:04}-{month:02}-{day:02}")
    }
}

text_form!(Date, "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}$");

/// Exactly so many digits.
fn digits(text: &str, count: usize) -> Option<u16> {
    if text.len() != count || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

/// What has a first value, and another after each but the last.
pub(super) trait Steps: Copy {
    /// The first.
    const FIRST: Self;

    /// The one after it.
    fn next(self) -> Option<Self>;
}

impl Steps for u32 {
    const FIRST: Self = 0;

    fn next(self) -> Option<Self> {
        self.checked_add(1)
    }
}

impl Steps for TimeOfDay {
    const FIRST: Self = TimeOfDay::FIRST;

    fn next(self) -> Option<Self> {
        (self < TimeOfDay::LAST).then(|| TimeOfDay(self.0 + 1))
    }
}

impl Steps for Date {
    const FIRST: Self = Date::FIRST;

    fn next(self) -> Option<Self> {
        (self < Date::LAST).then(|| Date(self.0 + 1))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_date_is_read_as_it_is_written(days in Date::FIRST.0..=Date::LAST.0) {
            let date = Date(days);
            prop_assert_eq!(date.to_string().parse::<Date>().unwrap(), date);
            // The day after it is the next of its month, or a first.
            let (one, next) = (date.civil(), Date(days + 1).civil());
            prop_assert!(next == (one.0, one.1, one.2 + 1) || next.2 == 1);
        }
    }

    // behaviour: rules.local-time
    #[test]
    fn a_moment_is_somewhere_else_another_day() {
        let moment = Timestamp(1_767_223_800_000);
        let at = |offset| {
            let LocalTime { time, day, date } = LocalTime::at(moment, offset);
            format!("{day} {date} {time}")
        };
        assert_eq!(at(0), "Wed 2025-12-31 23:30");
        assert_eq!(at(60), "Thu 2026-01-01 00:30");
        assert_eq!(at(-24 * 60), "Tue 2025-12-30 23:30");
        let ends = [i64::MIN, i64::MAX].map(|at| LocalTime::at(Timestamp(at), 0).date.to_string());
        assert_eq!(ends, ["0001-01-01", "9999-12-31"]);
    }

    #[test]
    fn what_does_not_exist_is_refused() {
        for date in [
            "2026-02-29",
            "2026-00-01",
            "2026-13-01",
            "2026-1-1",
            "0000-01-01",
            "2026-01-32",
            "2026-01-01-1",
            "x",
        ] {
            assert!(date.parse::<Date>().is_err(), "{date}");
        }
        assert!("2024-02-29".parse::<Date>().is_ok());
        for time in ["24:00", "12:60", "1:00", "12", "12:00:00", "+1:00"] {
            assert!(time.parse::<TimeOfDay>().is_err(), "{time}");
        }
        assert_eq!("09:05".parse::<TimeOfDay>().unwrap().to_string(), "09:05");
        assert!("Monday".parse::<Weekday>().is_err());
        assert_eq!("sun".parse::<Weekday>().unwrap(), Weekday::Sun);
    }
}
