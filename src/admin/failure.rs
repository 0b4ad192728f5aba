use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use crate::reply::Error;

/// An answer other than success: a status, and why, as JSON.
#[derive(Debug)]
pub struct Failure {
    status: StatusCode,
    message: String,
}

impl Failure {
    /// Creates an answer with this status, whose body says `message`.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into() }
    }

    /// Creates the answer to a request that makes no sense, 400.
    pub fn bad_request(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }
}

/// A command's error, by its code word.
impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        let status = match error.code() {
            b"OOM" => StatusCode::INSUFFICIENT_STORAGE,
            b"WRONGTYPE" => StatusCode::CONFLICT,
            b"NOAUTH" | b"NOPERM" | b"WRONGPASS" => StatusCode::FORBIDDEN,
            b"LOADING" | b"BUSY" | b"MASTERDOWN" | b"CLUSTERDOWN" | b"TRYAGAIN" | b"MISCONF" => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            b"IOERR" => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        };
        Failure::new(status, error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        (self.status, Json(serde_json::json!({ "error": self.message }))).into_response()
    }
}
