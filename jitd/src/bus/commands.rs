//! Declares an interface each of whose methods is a command of the table of origins ([`CommandKind`]): the caller is
//! identified and admitted before the method's body runs.
//!
//! [`CommandKind`]: crate::core::authority::CommandKind

/// `Kind: async fn method(self, caller, arguments) -> Answer { body }`, and after `beside` signals and properties.
macro_rules! commands {
    (
        #[interface(name = $name:literal)]
        impl $Interface:ident {
            $(
                $(#[$meta:meta])*
                $Kind:ident:
                async fn $method:ident($self:ident, $caller:ident $(, $argument:ident: $Argument:ty)* $(,)?) -> $Answer:tt
                $body:block
            )*
        }
        beside { $($beside:tt)* }
    ) => {
        #[zbus::interface(name = $name)]
        #[allow(clippy::too_many_arguments, reason = "the methods' D-Bus signatures")]
        impl $Interface {
            $(
                $(#[$meta])*
                async fn $method(
                    &$self,
                    #[zbus(connection)] connection: &zbus::Connection,
                    #[zbus(header)] header: zbus::message::Header<'_>,
                    $($argument: $Argument,)*
                ) -> Result<$Answer, Failure> {
                    let $caller = $self.admission.admit(connection, &header, CommandKind::$Kind).await?;
                    $body
                }
            )*
            $($beside)*
        }
    };
}

pub(super) use commands;
