//! `Range: version ..; max=15, order=desc` on lists.
//! <https://devcenter.heroku.com/articles/platform-api-reference#ranges>

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde_json::Value;

use super::reply::reply;
use crate::error::{ApiError, ApiResult};

/// Heroku's default page and its largest page.
const DEFAULT_MAX: usize = 200;
const LARGEST_MAX: usize = 1000;

/// A parsed `Range` header.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct ListRange {
    /// The field the list is ordered by.
    pub(crate) field: Option<String>,
    /// First value wanted; exclusive if `exclusive`.
    pub(crate) from: Option<String>,
    /// `]` before the first value.
    pub(crate) exclusive: bool,
    /// Last value wanted.
    pub(crate) to: Option<String>,
    /// Entries on a page.
    pub(crate) max: Option<usize>,
    /// Largest first.
    pub(crate) descending: bool,
}

impl ListRange {
    /// The header of a request. None or an empty one is a whole-list request.
    pub(crate) fn of(headers: &HeaderMap) -> ApiResult<Self> {
        let text = headers.get(header::RANGE).map(HeaderValue::to_str).transpose().map_err(|_| malformed(""))?;
        text.map_or_else(|| Ok(Self::default()), Self::parse)
    }

    /// Lenient, as clients are: any order of options, `,` or `;` between them, spaces anywhere, a `;` at the end.
    pub(crate) fn parse(text: &str) -> ApiResult<Self> {
        let mut range = Self::default();
        let mut parts = text.split([';', ',']).map(str::trim).filter(|part| !part.is_empty());
        let Some(first) = parts.next() else { return Ok(range) };
        let (field, span) = first.split_once(char::is_whitespace).unwrap_or((first, ".."));
        let (from, to) = span.trim().split_once("..").ok_or_else(|| malformed(text))?;
        range.field = Some(field.to_owned());
        let from = from.trim();
        range.exclusive = from.starts_with(']');
        range.from = Some(from.trim_start_matches(['[', ']'])).filter(|value| !value.is_empty()).map(str::to_owned);
        range.to = Some(to.trim().trim_end_matches(['[', ']'])).filter(|value| !value.is_empty()).map(str::to_owned);
        for option in parts {
            match option.split_once('=').map(|(name, value)| (name.trim(), value.trim())) {
                Some(("max", value)) => {
                    let max: usize = value.parse().map_err(|_| malformed(text))?;
                    if max == 0 || max > LARGEST_MAX {
                        return Err(malformed(text));
                    }
                    range.max = Some(max);
                }
                Some(("order", "desc")) => range.descending = true,
                Some(("order", "asc")) => range.descending = false,
                _ => return Err(malformed(text)),
            }
        }
        Ok(range)
    }

    /// Sorts, cuts and answers a list: 200 when it is whole, 206 with `Next-Range` when there is more.
    pub(crate) fn answer(&self, fields: &'static [&'static str], mut items: Vec<Value>) -> ApiResult {
        let field = match self.field.as_deref() {
            None => fields[0],
            Some(wanted) => fields.iter().copied().find(|field| *field == wanted).ok_or_else(|| {
                let message = format!("This list cannot be ordered by \"{}\"; use one of: {}.", wanted.escape_default(), fields.join(", "));
                ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable", message)
            })?,
        };
        items.sort_by(|a, b| compare(&a[field], &b[field]));
        let low = |item: &Value| self.from.as_ref().is_none_or(|from| in_order(&item[field], from, self.descending, self.exclusive));
        let high = |item: &Value| self.to.as_ref().is_none_or(|to| in_order(&item[field], to, !self.descending, false));
        if self.descending {
            items.reverse();
        }
        items.retain(|item| low(item) && high(item));
        let max = self.max.unwrap_or(if self.field.is_some() { DEFAULT_MAX } else { usize::MAX });
        let more = items.len() > max;
        items.truncate(max);
        let last = items.last().map(|item| plain(&item[field]));
        let first = items.first().map(|item| plain(&item[field]));
        let mut response: Response = reply(if more { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK }, &Value::Array(items));
        let set = |response: &mut Response, name: &'static str, text: String| {
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().insert(name, value);
            }
        };
        set(&mut response, "accept-ranges", fields.join(", "));
        if let (Some(first), Some(last)) = (first, last) {
            set(&mut response, "content-range", format!("{field} {first}..{last}"));
            if more {
                let order = if self.descending { ", order=desc" } else { "" };
                let to = self.to.as_deref().unwrap_or_default();
                set(&mut response, "next-range", format!("{field} ]{last}..{to}; max={max}{order}"));
            }
        }
        Ok(response)
    }
}

/// Whether a value lies at or after `bound` in the list's direction.
fn in_order(value: &Value, bound: &str, descending: bool, exclusive: bool) -> bool {
    let bound = match value {
        Value::Number(_) => bound.parse::<i64>().map_or_else(|_| Value::String(bound.to_owned()), Value::from),
        _ => Value::String(bound.to_owned()),
    };
    match compare(value, &bound) {
        std::cmp::Ordering::Equal => !exclusive,
        std::cmp::Ordering::Greater => !descending,
        std::cmp::Ordering::Less => descending,
    }
}

fn compare(a: &Value, b: &Value) -> std::cmp::Ordering {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => plain(a).cmp(&plain(b)),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn malformed(text: &str) -> ApiError {
    let message = format!(
        "The Range header \"{}\" is not understood. An example: Range: version ..; max=15, order=desc (max is 1 to {LARGEST_MAX}).",
        text.escape_default()
    );
    ApiError::new(StatusCode::RANGE_NOT_SATISFIABLE, "requested_range_not_satisfiable", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(range: &str) -> (u16, Option<String>) {
        let items = (1..=5).map(|version| json!({ "version": version })).collect();
        let response = ListRange::parse(range).unwrap().answer(&["version"], items).unwrap();
        (response.status().as_u16(), response.headers().get("next-range").map(|value| value.to_str().unwrap().to_owned()))
    }

    #[test]
    fn what_the_cli_really_sends_is_understood() {
        for text in [
            "version ..; max=1, order=desc",
            "version ..; order=desc,max=1",
            "version ..;order=desc;max=1;",
            " version  .. ; max = 1 , order = desc ",
        ] {
            let range = ListRange::parse(text).unwrap();
            assert_eq!((range.field.as_deref(), range.max, range.descending), (Some("version"), Some(1), true), "{text}");
        }
        assert_eq!(ListRange::parse("id ..; max=1000;").unwrap().max, Some(1000));
        assert_eq!(ListRange::parse("").unwrap(), ListRange::default());
        for bad in ["version 3", "version ..; max=x", "version ..; max=0", "version ..; max=1001", "version ..; colour=red"] {
            assert_eq!(ListRange::parse(bad).unwrap_err().status, StatusCode::RANGE_NOT_SATISFIABLE, "{bad}");
        }
    }

    #[test]
    fn pages_follow_each_other_to_the_end() {
        assert_eq!(page(""), (200, None));
        assert_eq!(page("version ..; max=2, order=desc"), (206, Some("version ]4..; max=2, order=desc".into())));
        assert_eq!(page("version ]4..; max=2, order=desc"), (206, Some("version ]2..; max=2, order=desc".into())));
        assert_eq!(page("version ]2..; max=2, order=desc"), (200, None));
        assert_eq!(page("version 2..4; max=3"), (200, None));
    }
}
