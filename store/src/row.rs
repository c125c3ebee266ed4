//! From database rows to Rust values, with the column named when it does not fit.

use std::str::FromStr;

use jiff::Timestamp;
use sqlx::Row as _;
use sqlx::any::AnyRow;

use crate::{Result, StoreError};

pub(crate) fn text(row: &AnyRow, column: &'static str) -> Result<String> {
    row.try_get(column).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn text_opt(row: &AnyRow, column: &'static str) -> Result<Option<String>> {
    row.try_get(column).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn int(row: &AnyRow, column: &'static str) -> Result<i64> {
    row.try_get(column).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn int_opt(row: &AnyRow, column: &'static str) -> Result<Option<i64>> {
    row.try_get(column).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn small(row: &AnyRow, column: &'static str) -> Result<u32> {
    int(row, column)?.try_into().map_err(|_| StoreError::Decode { column })
}

pub(crate) fn flag(row: &AnyRow, column: &'static str) -> Result<bool> {
    Ok(int(row, column)? != 0)
}

pub(crate) fn parsed<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<T> {
    text(row, column)?.parse().map_err(|_| StoreError::Decode { column })
}

pub(crate) fn parsed_opt<T: FromStr>(row: &AnyRow, column: &'static str) -> Result<Option<T>> {
    text_opt(row, column)?.map(|text| text.parse().map_err(|_| StoreError::Decode { column })).transpose()
}

pub(crate) fn time(row: &AnyRow, column: &'static str) -> Result<Timestamp> {
    Timestamp::from_microsecond(int(row, column)?).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn time_opt(row: &AnyRow, column: &'static str) -> Result<Option<Timestamp>> {
    int_opt(row, column)?.map(|at| Timestamp::from_microsecond(at).map_err(|_| StoreError::Decode { column })).transpose()
}

pub(crate) fn json<T: serde::de::DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<T> {
    serde_json::from_str(&text(row, column)?).map_err(|_| StoreError::Decode { column })
}

pub(crate) fn to_json<T: serde::Serialize>(value: &T, column: &'static str) -> Result<String> {
    serde_json::to_string(value).map_err(|_| StoreError::Decode { column })
}

/// Now, to the microsecond the database keeps.
pub(crate) fn now() -> i64 {
    Timestamp::now().as_microsecond()
}
