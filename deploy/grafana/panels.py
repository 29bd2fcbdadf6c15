"""What Grafana's panels look like in JSON. dashboard.py says what is on the dashboard; here is how such a thing is drawn.

The keys are those of @grafana/schema, which test/grafana checks them against.
"""

REPOSITORY = "https://github.com/autotagd/autotagd/blob/main"

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

# One color for one meaning, everywhere.
GREEN, BLUE, GREY, PURPLE, RED, YELLOW, ORANGE = "green", "blue", "#8e8e8e", "purple", "red", "yellow", "orange"


def steps(base, *more):
    """Thresholds: a color from below, then (value, color) from each value on."""
    return {"mode": "absolute", "steps": [{"color": base, "value": None}] + [{"color": c, "value": v} for v, c in more]}


def query(expr, legend="", instant=False, table=False, heatmap=False):
    q = {"expr": expr, "legendFormat": legend or "__auto", "editorMode": "code", "instant": instant, "range": not instant}
    q["format"] = "table" if table else "heatmap" if heatmap else "time_series"
    return q


def override(name, **properties):
    """Properties of one series or column. custom_x is custom.x; a name that begins with / is a regular expression."""
    return {
        "matcher": {"id": "byRegexp" if name.startswith("/") else "byName", "options": name},
        "properties": [{"id": k.replace("custom_", "custom."), "value": v} for k, v in properties.items()],
    }


def painted(colors):
    """Overrides that give each series its color."""
    return [override(name, color={"mode": "fixed", "fixedColor": color}) for name, color in colors.items()]


def link(title, url, tooltip):
    return {"title": title, "type": "link", "url": url, "tooltip": tooltip, "icon": "doc", "targetBlank": True, "asDropdown": False,
            "includeVars": False, "keepTime": False, "tags": []}


def panel(kind, title, description, queries, w, h, *, unit, decimals=None, thresholds=None, defaults=None, custom=None,
          overrides=(), options=None, transformations=None, alerts=()):
    """alerts are those that fire on what the panel shows: it leads to their entries in the runbook."""
    defaults = {"unit": unit, "color": {"mode": "thresholds"}, "thresholds": thresholds or steps("text"), "mappings": []} | (defaults or {})
    if decimals is not None:
        defaults["decimals"] = decimals
    if custom is not None:
        defaults["custom"] = custom
    p = {
        "type": kind, "title": title, "description": description, "datasource": DATASOURCE,
        "gridPos": {"w": w, "h": h},
        "targets": [{"refId": chr(ord("A") + i), "datasource": DATASOURCE} | q for i, q in enumerate(queries)],
        "fieldConfig": {"defaults": defaults, "overrides": list(overrides)},
        "options": options,
    }
    if transformations:
        p["transformations"] = transformations
    if alerts:
        p["links"] = [link(f"{a} in the runbook", f"{REPOSITORY}/docs/runbook.md#{a.lower()}", "What it means and what to do") for a in alerts]
    return p


def stat(title, description, queries, w, h, *, color="value", orientation="auto", fields="", text="auto", **more):
    return panel("stat", title, description, queries, w, h, options={
        "colorMode": color, "graphMode": "none", "justifyMode": "auto", "textMode": text, "orientation": orientation,
        "wideLayout": True, "showPercentChange": False, "percentChangeColorMode": "standard",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": fields, "values": False},
    }, **more)


def lines(title, description, queries, w, h, *, unit, stack=False, bars=False, limit=False, calcs=("lastNotNull", "max"), legend="bottom", **more):
    """Series over time. limit draws the thresholds as dashed lines."""
    custom = {
        "drawStyle": "bars" if bars else "line", "lineInterpolation": "linear", "lineWidth": 0 if bars else 1,
        "fillOpacity": 100 if bars else 70 if stack else 10, "gradientMode": "none", "showPoints": "never", "pointSize": 5,
        "spanNulls": False, "insertNulls": False, "axisPlacement": "auto", "axisLabel": "", "axisColorMode": "text", "axisSoftMin": 0,
        "axisBorderShow": False, "axisCenteredZero": False, "barAlignment": 0, "barWidthFactor": 0.9,
        "scaleDistribution": {"type": "linear"}, "stacking": {"group": "A", "mode": "normal" if stack else "none"},
        "thresholdsStyle": {"mode": "dashed" if limit else "off"}, "hideFrom": {"legend": False, "tooltip": False, "viz": False},
    }
    color = {"color": {"mode": "palette-classic"}}
    return panel("timeseries", title, description, queries, w, h, unit=unit, custom=custom, defaults=color | more.pop("defaults", {}), options={
        "legend": {"showLegend": True, "displayMode": "table" if calcs else "list", "placement": legend, "calcs": list(calcs)},
        "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": True},
    }, **more)


def table(title, description, queries, w, h, *, unit, sort, **more):
    custom = {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False, "filterable": False}
    return panel("table", title, description, queries, w, h, unit=unit, custom=custom, options={
        "showHeader": True, "cellHeight": "sm", "frameIndex": 0, "sortBy": [{"displayName": sort, "desc": True}],
    }, **more)


def heatmap(title, description, queries, w, h, *, unit, **more):
    custom = {"scaleDistribution": {"type": "linear"}, "hideFrom": {"legend": False, "tooltip": False, "viz": False}}
    return panel("heatmap", title, description, queries, w, h, unit=unit, custom=custom, options={
        "calculate": False, "cellGap": 1, "showValue": "never", "filterValues": {"le": 1e-9},
        "color": {"mode": "scheme", "scheme": "Greens", "fill": "dark-green", "exponent": 0.5, "scale": "exponential", "steps": 64, "reverse": False},
        "exemplars": {"color": "rgba(255,0,255,0.7)"}, "legend": {"show": True}, "rowsFrame": {"layout": "auto"},
        "tooltip": {"mode": "single", "yHistogram": True, "showColorScale": False},
        "yAxis": {"axisPlacement": "left", "unit": unit, "reverse": False},
    }, **more)


def matrix(row, column, names, order):
    """Transformations from one row a (row, column) pair to one row a row, with a column for each value of the label column."""
    corner = f"{row}\\{column}"
    return [
        {"id": "groupingToMatrix", "options": {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "zero"}},
        {"id": "organize", "options": {
            "excludeByName": {}, "renameByName": {corner: names},
            "indexByName": {corner: 0} | {c: i + 1 for i, c in enumerate(order)},
        }},
    ]


def arranged(rows):
    """Panels in rows of 24 columns, each row under its heading, with ids and places. A line ends where it is full."""
    out, y = [], 0
    for heading, panels in rows:
        out.append({"type": "row", "title": heading, "collapsed": False, "panels": [], "gridPos": {"x": 0, "y": y, "w": 24, "h": 1}})
        y, x, height = y + 1, 0, 0
        for p in panels:
            grid = p["gridPos"]
            if x + grid["w"] > 24:
                x, y, height = 0, y + height, 0
            if height not in (0, grid["h"]):
                raise ValueError(f"{p['title']}: {grid['h']} high, in a line of panels {height} high")
            p["gridPos"] = {"x": x, "y": y, "w": grid["w"], "h": grid["h"]}
            x, height = x + grid["w"], grid["h"]
            out.append(p)
        y += height
    for i, p in enumerate(out):
        p["id"] = i + 1
    return out
