//! The services that programs share, behind two ports: [`queue`] (RabbitMQ, or memory) and [`state`] (Redis, or memory);
//! and how programs are set up: [`config`] with [`address`], [`definition`], [`service`], [`telemetry`], [`traces`].

pub mod address;
pub mod config;
pub mod definition;
pub mod queue;
pub mod service;
pub mod state;
pub mod telemetry;
pub mod traces;
