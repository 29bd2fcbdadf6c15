// What a dashboard may have, as @grafana/schema says, made strict where that leaves things open: a panel's options and fields by its
// kind, and what of a query, a transformation and a property of an override this dashboard uses.
import type { AnnotationQuery, Dashboard, DataQuery, FieldConfig, Panel, RowPanel, VariableModel } from '@grafana/schema';
import type { FieldConfig as HeatmapField, Options as HeatmapOptions } from '@grafana/schema/dist/esm/raw/composable/heatmap/panelcfg/x/HeatmapPanelCfg_types.gen';
import type { Options as StatOptions } from '@grafana/schema/dist/esm/raw/composable/stat/panelcfg/x/StatPanelCfg_types.gen';
import type { FieldConfig as TableField, Options as TableOptions } from '@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen';
import type { FieldConfig as SeriesField, Options as SeriesOptions } from '@grafana/schema/dist/esm/raw/composable/timeseries/panelcfg/x/TimeSeriesPanelCfg_types.gen';

// JSON<T> is T as JSON has it: a member of an enum is its value.
type JSON<T> =
  unknown extends T ? T :
  T extends string ? `${T}` :
  T extends number ? (`${T}` extends `${infer N extends number}` ? N : never) :
  T extends boolean | null | undefined ? T :
  T extends (infer U)[] ? JSON<U>[] :
  { [K in keyof T]: JSON<T[K]> };

// The schema has no type for Prometheus's queries, links and transformations: these are of @grafana/prometheus and @grafana/data 13.2.
interface DataSource { type: 'prometheus'; uid: '${datasource}' }

interface Query extends Omit<DataQuery, 'datasource'> {
  datasource: DataSource;
  expr: string;
  legendFormat: string;
  editorMode: 'code';
  format: 'time_series' | 'table' | 'heatmap';
  instant: boolean;
  range: boolean;
}

interface Link { title: string; url: string; targetBlank: boolean }

type Transformation =
  | { id: 'merge'; options: {} }
  | { id: 'organize'; options: { excludeByName: Record<string, boolean>; indexByName: Record<string, number>; renameByName: Record<string, string> } }
  | { id: 'groupingToMatrix'; options: { rowField: string; columnField: string; valueField: string; emptyValue: 'zero' | 'null' | 'empty' } };

// Of FieldConfig: its custom is any object.
type Field = Pick<FieldConfig, 'color' | 'decimals' | 'mappings' | 'max' | 'min' | 'noValue' | 'thresholds' | 'unit'> & { links?: Link[] };

type Property<T, Prefix extends string> = { [K in keyof T & string]-?: { id: `${Prefix}${K}`; value: NonNullable<T[K]> } }[keyof T & string];

interface Kind<Type extends string, Options, Custom> extends Omit<Panel, 'datasource' | 'fieldConfig' | 'options' | 'targets' | 'transformations' | 'type'> {
  type: Type;
  datasource: DataSource;
  options: Options;
  targets: Query[];
  transformations?: Transformation[];
  fieldConfig: {
    defaults: Field & { custom?: Custom };
    overrides: { matcher: { id: 'byName' | 'byRegexp'; options: string }; properties: (Property<Field, ''> | Property<Custom, 'custom.'>)[] }[];
  };
}

export type heatmap = JSON<Kind<'heatmap', HeatmapOptions, HeatmapField>>;
export type row = JSON<RowPanel>;
export type stat = JSON<Kind<'stat', StatOptions, {}>>;
export type table = JSON<Kind<'table', TableOptions, TableField>>;
export type timeseries = JSON<Kind<'timeseries', SeriesOptions, SeriesField>>;

// A dashboard without its panels. Grafana writes a variable's query twice, and the schema does not know.
export type dashboard = JSON<Omit<Dashboard, 'panels' | 'templating' | 'annotations'> & {
  templating: { list: (VariableModel & { definition?: string })[] };
  annotations: { list: (AnnotationQuery<DataQuery & { expr: string; interval: string }> & { titleFormat: string; textFormat: string })[] };
}>;
