// The SQL API is a binary that is downloaded from GitHub; the REST API does not need it.
const Module = require('node:module');
const load = Module._load;
const silent = { setupLogger() {}, async registerInterface() { return {}; }, async shutdownInterface() {}, isFallbackBuild: () => true, NativeInstance: class { newJinjaEngine() { return {}; } loadPythonContext() { return { functions: {}, variables: {}, filters: {} }; } } };
Module._load = function (request, ...rest) {
  return request === '@cubejs-backend/native' ? silent : load.call(this, request, ...rest);
};
