"""The GraphQL documents of ``pipelines.backfill``.

Belongs here: documents for Dagster's webserver. Does not belong here: sending them
(``pipelines.webserver``) or reading the answers (``pipelines.backfill``).
"""

ASSETS = """{ assetNodes {
  assetKey { path } groupName isMaterializable partitionDefinition { type } } }"""

PARTITIONS = """query($asset: AssetKeyInput!) { asset: assetNodeOrError(assetKey: $asset) {
  ... on AssetNode { partitionKeys } } }"""

LAUNCH = """mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on Error { message } } }"""

CANCEL = """mutation($id: String!) { cancelPartitionBackfill(backfillId: $id) {
  __typename ... on Error { message } } }"""

TERMINATE = """mutation($ids: [String!]!) { terminateRuns(runIds: $ids) {
  __typename ... on Error { message } } }"""

_STATE = """
  status
  error { message }
  runs(limit: 10000) {
    runId status
    assetSelection { path }
    tags { key value }
    stats { ... on RunStatsSnapshot { materializations } } }"""

BACKFILL = (
    """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
  __typename
  ... on Error { message }
  ... on PartitionBackfill { assetSelection { path } """
    + _STATE
    + "} } }"
)

TARGET = """query($id: String!, $asset: AssetKeyInput!) {
  partitionBackfillOrError(backfillId: $id) {
    __typename
    ... on Error { message }
    ... on PartitionBackfill {
      target: partitionsTargetedForAssetKey(assetKey: $asset) {
        ranges { start end } partitionKeys } } } }"""

DAEMON = """{ instance { daemonHealth { daemonStatus(daemonType: "BACKFILL") {
  lastHeartbeatTime } } } }"""

LOG = """query($id: ID!, $cursor: String) {
  logsForRun(runId: $id, afterCursor: $cursor, limit: 1000) {
    __typename
    ... on Error { message }
    ... on EventConnection {
      cursor hasMore
      events {
        __typename
        ... on RunFailureEvent { message }
        ... on ExecutionStepFailureEvent { message stepKey error { message causes { message } } }
        ... on AssetCheckEvaluationEvent {
          evaluation { checkName success description } } } } } }"""
