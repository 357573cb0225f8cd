module.exports = { telemetry: false, scheduledRefreshTimer: false };
