//! What goes through the TLS connection to an RD Gateway (MS-TSGU): HTTP, WebSocket, tunnel packets, RPC, and the KDC proxy.
//!
//! Each file reads one layer; a stream is read as [`http`] first, then, by what was said there, as [`websocket`] or chunks that carry
//! [`tsgu`] packets, as [`rpc`] fragments, or, where the connection begins with [`http2::PREFACE`], as [`http2`] frames whose
//! data is a [`kdc_proxy`] message. [`udp`] reads what DTLS to the gateway's UDP port carries.

pub mod http;
pub mod http2;
pub mod kdc_proxy;
pub mod rpc;
pub mod tsgu;
pub mod udp;
pub mod websocket;
