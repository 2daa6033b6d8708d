//! Owns the D-Bus names of what a method call can be answered with instead of a result. How a
//! transaction failed is no such answer: it is part of the transaction.

/// Why a call was not taken on.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.keelson.Host1.Error")]
pub enum ApiError {
    /// The bus itself failed.
    #[zbus(error)]
    Bus(zbus::Error),
    /// Something else is running.
    Busy(String),
    /// The caller may not do this.
    Denied(String),
    /// The call makes no sense.
    Invalid(String),
    /// keeld could not answer.
    Failed(String),
}

impl ApiError {
    /// The plain words in it.
    pub fn text(&self) -> String {
        match self {
            ApiError::Bus(zbus::Error::MethodError(name, text, _)) => match text {
                Some(text) => text.clone(),
                None => name.to_string(),
            },
            ApiError::Bus(error) => error.to_string(),
            ApiError::Busy(text) | ApiError::Denied(text) | ApiError::Invalid(text) | ApiError::Failed(text) => {
                text.clone()
            }
        }
    }
}
