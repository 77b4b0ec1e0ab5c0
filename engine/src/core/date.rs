//! Dates of the business day: numbers of the form YYYYMMDD, in Japan standard time.

/// Japan standard time is nine hours ahead of UTC, the whole year.
const JST_S: u64 = 9 * 3600;
const DAY_S: u64 = 86_400;

/// The date of a wall time (nanoseconds since 1970 UTC) in Japan.
#[must_use]
pub fn date_of(wall_ns: u64) -> u32 {
    from_days((wall_ns / 1_000_000_000 + JST_S) / DAY_S)
}

/// The day after a date.
#[must_use]
pub fn next_day(date: u32) -> u32 {
    from_days(to_days(date) + 1)
}

/// The two digits of the day of the month, as a telegram carries them.
#[must_use]
pub fn day_digits(date: u32) -> [u8; 2] {
    let day = (date % 100) as u8;
    [b'0' + day / 10, b'0' + day % 10]
}

/// Days since 1970-01-01 to a date of the Gregorian calendar, counted in eras of 400 years that begin in March.
fn from_days(days: u64) -> u32 {
    let shifted = days + 719_468;
    let (era, day) = (shifted / 146_097, shifted % 146_097);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let in_year = day - (365 * year + year / 4 - year / 100);
    let from_march = (5 * in_year + 2) / 153;
    let day_of_month = in_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year + u64::from(month <= 2);
    (year * 10_000 + month * 100 + day_of_month) as u32
}

fn to_days(date: u32) -> u64 {
    let (year, month, day) = (
        u64::from(date / 10_000),
        u64::from(date / 100 % 100),
        u64::from(date % 100),
    );
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year / 400, year % 400);
    let from_march = if month > 2 { month - 3 } else { month + 9 };
    let in_year = (153 * from_march + 2) / 5 + day - 1;
    era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + in_year - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known days, leap years and the turn of the day at 15:00 UTC.
    #[test]
    fn dates_of_known_days() {
        assert_eq!(date_of(0), 19700101);
        assert_eq!(date_of((15 * 3600 - 1) * 1_000_000_000), 19700101);
        assert_eq!(date_of(15 * 3600 * 1_000_000_000), 19700102);
        assert_eq!(next_day(20261130), 20261201);
        assert_eq!(next_day(20280228), 20280229);
        assert_eq!(next_day(20270228), 20270301);
        assert_eq!(next_day(20261231), 20270101);
        assert_eq!(day_digits(20261103), *b"03");
        let mut date = 19700101;
        for day in 0..60_000 {
            assert_eq!((to_days(date), from_days(day)), (day, date));
            date = next_day(date);
        }
    }
}
