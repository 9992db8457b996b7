// Names for the types of the OpenAPI document.
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Me = Schemas["Me"];
export type EnvironmentRow = Schemas["EnvironmentRow"];
export type Summary = Schemas["EnvironmentSummary"];
export type EnvironmentDetails = Schemas["EnvironmentDetails"];
export type Fix = Schemas["Fix"];
export type Snapshot = Schemas["ConsoleSnapshot"];
export type RollbackDetails = Schemas["RollbackDetails"];
export type Preview = Schemas["RollbackPreview"];
export type Report = Schemas["Preview"];
export type Evidence = Schemas["RecoveryEvidence"];
export type Extract = Schemas["ExtractView"];
export type Compared = Schemas["ColumnCompared"];
export type Settings = Schemas["SettingsView"];
export type SettingsUpdate = Schemas["SettingsUpdate"];
