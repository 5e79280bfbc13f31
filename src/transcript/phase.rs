//! How far a connection came: phases, roles and transports in the words of the contract.

use crate::words::words;

words! {
    /// The first phase that the connection did not complete.
    Phase {
        /// Completed by an address for the name.
        Dns = "dns",
        /// Completed by the three-way handshake.
        Tcp = "tcp",
        /// Completed by an X.224 Connection Confirm with an accepted protocol.
        X224 = "x224",
        /// Completed by both Finished messages (TLS 1.3: the client's).
        Tls = "tls",
        /// Completed when CredSSP/NLA is done.
        CredSsp = "credssp",
        /// Completed when channels are joined and the client info is sent.
        Mcs = "mcs",
        /// Completed by the licensing exchange.
        Licensing = "licensing",
        /// Completed by Demand Active to Font Map.
        Activation = "activation",
        /// Never completed: a connection that reaches it has connected.
        Session = "session",
        /// Role `gateway`: completed when HTTP authentication, tunnel and channel are made.
        Gateway = "gateway",
        /// Role `rdp_udp`: completed by SYN, SYN+ACK, ACK.
        UdpHandshake = "udp_handshake",
        /// Roles `rdp_udp` and `gateway_udp`: completed by the (D)TLS handshake.
        Dtls = "dtls",
    }
}

impl Phase {
    /// Its place on the way of a connection. A gateway's phase stands before those of the connection that it carries.
    pub fn place(self) -> usize {
        match self {
            Phase::Dns => 0,
            Phase::Tcp => 1,
            Phase::UdpHandshake => 2,
            Phase::X224 => 3,
            Phase::Tls | Phase::Dtls => 4,
            Phase::Gateway => 5,
            Phase::CredSsp => 6,
            Phase::Mcs => 7,
            Phase::Licensing => 8,
            Phase::Activation => 9,
            Phase::Session => 10,
        }
    }
}

words! {
    /// What a connection is for.
    Role {
        /// TCP to the Remote Desktop host.
        Rdp = "rdp",
        /// HTTPS to an RD Gateway.
        Gateway = "gateway",
        /// RDP-UDP to the host.
        RdpUdp = "rdp_udp",
        /// DTLS to the gateway.
        GatewayUdp = "gateway_udp",
    }
}

words! {
    /// What carries a connection.
    Transport {
        /// TCP.
        Tcp = "tcp",
        /// UDP.
        Udp = "udp",
        /// A lookup that failed before the first SYN.
        Dns = "dns",
    }
}

words! {
    /// Where the capture was taken, seen from one connection.
    Vantage {
        /// On the client or beside it.
        Client = "client",
        /// On the server or beside it.
        Server = "server",
        /// Somewhere between them.
        Between = "between",
        /// The packets do not tell.
        Unknown = "unknown",
    }
}
