//! The services that programs share, behind two ports: [`queue`] (RabbitMQ, or memory) and [`state`] (Redis, or memory);
//! how programs are set up: [`config`] with [`address`], [`definition`], [`service`], [`telemetry`], [`traces`]; and the host's
//! [`clock`] beside the state's.

pub mod address;
pub mod clock;
pub mod config;
pub mod definition;
pub mod queue;
pub mod service;
pub mod state;
pub mod telemetry;
pub mod traces;
