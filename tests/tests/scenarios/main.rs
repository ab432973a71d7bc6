//! The whole system against real services: one binary, so that RabbitMQ, Redis and HDF5 clients are linked once.

mod browser;
mod cli;
mod cluster;
mod compose;
mod coordinator;
mod damage;
mod expressions;
mod failures;
mod flight;
mod generations;
mod http;
mod levers;
mod matrix;
mod metrics;
mod pages;
mod pipeline_light;
mod queue;
mod registry;
mod replaced;
mod replay;
mod runner;
mod simulation;
mod state;
mod tables;
mod traces;
mod worker;
