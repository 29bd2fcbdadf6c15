#!/usr/bin/env python3
"""Writes the Grafana dashboard to the file that is named. Run by `make generate`; Python's own library is all it needs.

A query names no data source, account or Region: those are the dashboard's variables. Nor does it need recording rules.
"""
import json
import sys

from panels import (BLUE, GREEN, GREY, ORANGE, PURPLE, RED, YELLOW, DATASOURCE, REPOSITORY, arranged, heatmap, lines, link, matrix, override,
                    painted, query, stat, steps, table)

JOB = 'job=~"$job"'
REGION = JOB + ',region=~"$region"'
SCOPE = JOB + ',account_id=~"$account",region=~"$region"'

# How a resource ended. A dry run's would_tag is what tagged is otherwise.
OUTCOMES = {"tagged": GREEN, "kept": BLUE, "skipped": GREY, "gone": PURPLE, "missed": RED, "would_tag": YELLOW}


def counted(metric, labels, by=""):
    """How much a counter grew in the dashboard's time range, across restarts and from a series' first moment.

    increase() alone loses what a series counted before it was first scraped, and there are series that begin with their first
    event: the one Lambda function that was missed today would not show. So where a series was not there when the range began,
    the least that was scraped of it is added; but only of a process that started within the range, or what was counted before
    anyone looked would be taken for news. What is left is increase()'s: it estimates what lies between the ends of the range and
    the scrapes next to them, so that numbers can be off by what one scrape interval brings, and need not be whole. And a counter
    that after a restart is first scraped with no less than it had before is taken for the old one that went on: of what is rare,
    a restart can hide one or two.
    """
    series = f"{metric}{{{labels}}}"
    return f"""sum by ({by}) (
  increase({series}[$__range])
    # and what a new series of a new process had when it was first scraped
    + ((min_over_time({series}[$__range]) unless {series} offset $__range)
      and on (job, instance) max_over_time(process_start_time_seconds{{{JOB}}}[$__range]) > time() - $__range_s)
  or increase({series}[$__range])
)""".replace("sum by () ", "sum")


def labeled(labels, more):
    return f"{labels},{more}"


def rate(metric, labels, by="", per="1"):
    grown = f"rate({metric}{{{labels}}}[$__rate_interval])"
    total = f"sum by ({by}) ({grown})" if by else f"sum({grown})"
    return total if per == "1" else f"{per} * {total}"


def quantiles(metric):
    """The usual three, of what happened around each moment; nothing where nothing happened."""
    return [
        query(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket{{{REGION}}}[$__rate_interval])))", legend)
        for q, legend in ((0.5, "half within"), (0.9, "90 % within"), (0.99, "99 % within"))
    ]


QUANTILES = painted({"half within": GREEN, "90 % within": YELLOW, "99 % within": ORANGE})
PER_SCOPE = "{{account_id}} {{region}}"


def worst(expr):
    return f"topk(10, {expr})"


def lag(mark):
    """How far a mark is behind Prometheus's clock. A mark is 0 until it is known."""
    return f"time() - min by (account_id, region) (autotagd_checkpoint_{mark}_timestamp_seconds{{{SCOPE}}} > 0)"


# How long the deferred resource that waits longest has waited; 0 where none does.
WAITING = (f"time() - min by (account_id, region) (autotagd_resources_deferred_since_timestamp_seconds{{{SCOPE}}} > 0)"
           f" or 0 * sum by (account_id, region) (autotagd_resources_deferred{{{SCOPE}}})")

RESOURCES = "autotagd_resources_total"


def covered():
    share = "{} / {}".format(
        counted(RESOURCES, labeled(SCOPE, 'outcome=~"tagged|kept"')), counted(RESOURCES, labeled(SCOPE, 'outcome=~"tagged|kept|missed"')))
    return [
        stat("Share tagged",
             "Of the resources of this time range that somebody is to be credited for, the share that ended with an owner: tagged, or kept because it "
             "had such a tag already. The rest was missed. Left out: what was skipped by rule, what was gone before it could be tagged, and what still "
             "waits (Deferred). Across restarts; exact but for what one scrape interval brings.",
             [query(share, "tagged", instant=True)], 4, 7, unit="percentunit", decimals=1, color="background",
             thresholds=steps(RED, (0.9, ORANGE), (0.98, GREEN)),
             defaults={"min": 0, "max": 1, "noValue": "no resources", "mappings": [
                 {"type": "special", "options": {"match": "nan", "result": {"text": "no resources", "color": "text", "index": 0}}}]}),
        stat("Resources",
             "How the resources of this time range ended. Tagged: the tags are there. Kept: such a tag with another value was there, and the configuration "
             "keeps it. Skipped: by rule, or nobody is to be credited. Gone: deleted before it could be tagged. Missed: could not be tagged, see the "
             "reasons. would_tag: a dry run. Across restarts; exact but for what one scrape interval brings.",
             [query(counted(RESOURCES, labeled(SCOPE, f'outcome="{o}"'), "outcome"), o, instant=True) for o in OUTCOMES], 12, 7, unit="locale", decimals=0,
             overrides=painted(OUTCOMES), orientation="vertical", text="value_and_name"),
        stat("Also worth a look",
             "Waiting: deferred, to be tried again. Owners unmapped: events of this time range whose owner no row of the directory file matches (0 without "
             "one). Calls not in the catalog: create-like calls of this time range that AWS's models of this release did not have: a newer release may tag "
             "what they made. The last one is of all accounts and Regions.",
             [query(f"sum(autotagd_resources_deferred{{{SCOPE}}}) or vector(0)", "waiting", instant=True),
              query(counted("autotagd_owners_unmapped_total", SCOPE) + " or vector(0)", "owners unmapped", instant=True),
              query(counted("autotagd_events_uncataloged_total", JOB) + " or vector(0)", "calls not in the catalog", instant=True)],
             8, 7,
             alerts=("AutotagdEventsUncataloged", "AutotagdOwnersUnmapped"),
             unit="locale", decimals=0, thresholds=steps("text", (0.5, ORANGE)), orientation="vertical", text="value_and_name"),
        lines("Resources by outcome",
              "How many resources a minute ended, and how. A bar is the mean around its moment.",
              [query(rate(RESOURCES, SCOPE, "outcome", per="60"), "{{outcome}}")], 16, 8, unit="suffix: /min", decimals=1, stack=True,
              overrides=painted(OUTCOMES), calcs=("lastNotNull", "mean", "max"), legend="right"),
        table("Missed, by reason",
              "Why resources of this time range could not be tagged. access_denied: the identity may not tag this kind; grant the action, and what waits is "
              "tagged by itself. tag_limit: it has 50 tags. invalid: AWS refuses for good. unresolved: the record does not say what was made. unsupported: AWS "
              "has no call that tags it. exhausted: retried for give_up_after.",
              [query(counted("autotagd_resources_missed_total", SCOPE, "reason"), instant=True, table=True)], 8, 8,
              alerts=("AutotagdResourcesMissed",), unit="locale", decimals=0,
              sort="missed", thresholds=steps("text", (0.5, RED)), transformations=[{"id": "organize", "options": {
                  "excludeByName": {"Time": True}, "indexByName": {"reason": 0, "Value": 1}, "renameByName": {"Value": "missed"}}}],
              overrides=[override("missed", custom_cellOptions={"type": "color-text"}, custom_width=100)]),
        table("By service",
              "How the resources of this time range ended, by AWS service; those with most missed first. Of all accounts and Regions, whatever is chosen above: "
              "this metric has neither. Of a service that has hardly any, a restart can hide one or two.",
              [query(counted("autotagd_resources_by_service_total", JOB, "service, outcome"), instant=True, table=True)], 12, 9, unit="locale", decimals=0,
              sort="missed", transformations=matrix("service", "outcome", "service", OUTCOMES), overrides=outcome_columns()),
        table("By account and Region",
              "How the resources of this time range ended, by account and Region of the event; those with most missed first.",
              [query(f'label_join(\n{counted(RESOURCES, SCOPE, "account_id, region, outcome")},\n"scope", " ", "account_id", "region")',
                     instant=True, table=True)], 12, 9, unit="locale", decimals=0,
              sort="missed", transformations=matrix("scope", "outcome", "account and Region", OUTCOMES), overrides=outcome_columns()),
    ]


def outcome_columns():
    """A column's numbers have the outcome's color where they are not 0."""
    return [override(o, thresholds=steps("text", (0.5, c)), custom_cellOptions={"type": "color-text"}, custom_width=90) for o, c in OUTCOMES.items()]


def fast():
    return [
        lines("Event to tag",
              "From the event to the tag on the resource, of what was tagged around each moment; the backlog is left out. CloudTrail's own delay, two to "
              "fifteen minutes, is in it: see Visibility delay. By Region only.",
              quantiles("autotagd_event_to_tag_seconds"), 12, 8, unit="s", overrides=QUANTILES),
        heatmap("Event to tag, spread",
                "The same, as it is spread: the greener, the more resources were tagged so long after their event.",
                [query(f"sum by (le) (increase(autotagd_event_to_tag_seconds_bucket{{{REGION}}}[$__rate_interval]))", "{{le}}", heatmap=True)],
                12, 8, unit="s", decimals=0),
        lines("Visibility delay",
              "From the event to when LookupEvents first showed it: CloudTrail's part of the time, plus the time to the next head scan. The backlog is left "
              "out. By Region only.",
              quantiles("autotagd_event_visibility_delay_seconds"), 8, 8, unit="s", overrides=QUANTILES),
        lines("Tagging latency",
              "From the first sight of the event to the tag: our own part. It grows with retries, with throttling and with what is deferred. The backlog is left "
              "out. By Region only.",
              quantiles("autotagd_tagging_latency_seconds"), 8, 8, unit="s", overrides=QUANTILES),
        lines("Resources in a tag call",
              "How many resources one call tags, on average. The more, the fewer calls: CreateTags takes 1,000, TagResources 20.",
              [query(f'{rate("autotagd_tag_batch_resources_sum", REGION, "region")} / {rate("autotagd_tag_batch_resources_count", REGION, "region")}',
                     "{{region}}")], 8, 8, unit="locale", decimals=1),
    ]


def behind():
    return [
        lines("Watermark lag",
              "How far the Watermark is back: up to there, all that head scans read is settled. The usual is minutes: they reach back as far as events are late. "
              "At the line, 15 minutes, AutotagdWatermarkBehind warns. The ten worst.",
              [query(worst(lag("watermark")), PER_SCOPE)], 8, 8,
              alerts=("AutotagdWatermarkBehind",), unit="s", limit=True, thresholds=steps("transparent", (900, RED))),
        lines("Floor lag",
              "How far the Floor is back: everything before it was read when nothing could become visible there any more, and is settled or in the backlog. "
              "The usual is lookback and sweep_interval, 35 minutes, and up to an hour more where a Scope is read by names. From three hours on final passes take the "
              "whole rate; at the line, four hours, AutotagdFloorBehind warns. The ten worst.",
              [query(worst(lag("floor")), PER_SCOPE)], 8, 8,
              alerts=("AutotagdFloorBehind",), unit="s", limit=True, thresholds=steps("transparent", (14400, RED))),
        lines("Deferred",
              "Resources that wait to be tried again: most often for a permission that is not granted. The ten accounts and Regions with most.",
              [query(worst(f"sum by (account_id, region) (autotagd_resources_deferred{{{SCOPE}}})"), PER_SCOPE)], 8, 8,
              alerts=("AutotagdResourcesDeferred",), unit="locale", decimals=0),
        lines("Pages read, by loop",
              "Pages of LookupEvents a second. head: for speed. final: each stretch once more, for the promise. backlog: the past, after an outage or at a first "
              "start.",
              [query(rate("autotagd_lookup_pages_total", SCOPE, "scan"), "{{scan}}")], 6, 8, unit="suffix: /s", decimals=2, stack=True,
              overrides=painted({"head": GREEN, "final": BLUE, "backlog": ORANGE}), calcs=("lastNotNull", "mean", "max")),
        lines("Backlog",
              "Time of the past that is still to be read, after an outage or at a first start. New events do not wait for it. The ten with most.",
              [query(worst(f"max by (account_id, region) (autotagd_backlog_seconds{{{SCOPE}}})"), PER_SCOPE)], 6, 8,
              alerts=("AutotagdBacklogStuck",), unit="s"),
        lines("Head scan period",
              "Time between the beginnings of head scans: poll.interval, 15 seconds, where the rate suffices. The ten longest.",
              [query(worst(f"max by (account_id, region) (autotagd_lookup_scan_period_seconds{{{SCOPE}}})"), PER_SCOPE)], 6, 8, unit="s"),
        lines("Late events",
              "Create events a minute that head scans missed and a final pass found: tagged late, but not lost. More than a few mean that CloudTrail is slow, or "
              "that head scans lack calls.",
              [query(rate("autotagd_sweep_late_events_total", SCOPE, per="60"), "late")], 6, 8,
              alerts=("AutotagdEventsFoundLate",), unit="suffix: /min", decimals=2,
              overrides=painted({"late": ORANGE}), calcs=("lastNotNull", "mean", "max")),
        stat("Scopes",
             "A Scope is an account in a Region. Held: by one of the replicas that are scraped. Held by nobody: not read now; a moment of that is a hand-over. "
             "Saturated: more events than can be read at poll.rate; the log says what helps.",
             [query(f"sum(max by (account_id, region) (autotagd_lease_held{{{SCOPE}}})) or vector(0)", "held", instant=True),
              query(f"count(max by (account_id, region) (autotagd_lease_held{{{SCOPE}}}) == 0) or vector(0)", "held by nobody", instant=True),
              query(f"sum(max by (account_id, region) (autotagd_lookup_saturated{{{SCOPE}}})) or vector(0)", "saturated", instant=True)],
             6, 9,
             alerts=("AutotagdScopeNotHeld", "AutotagdScopeHeldTwice", "AutotagdScopeNeverRead", "AutotagdSaturated"),
             unit="locale", decimals=0, orientation="horizontal", text="value_and_name", overrides=[
                 override("held", color={"mode": "fixed", "fixedColor": GREEN}),
                 override("held by nobody", thresholds=steps("text", (1, RED))), override("saturated", thresholds=steps("text", (1, ORANGE)))]),
        table("Each Scope",
              "How each account and Region stands now; the one furthest behind first.",
              [query(lag("watermark"), instant=True, table=True),
               query(lag("floor"), instant=True, table=True),
               query(f"max by (account_id, region) (autotagd_backlog_seconds{{{SCOPE}}})", instant=True, table=True),
               query(f"sum by (account_id, region) (autotagd_resources_deferred{{{SCOPE}}})", instant=True, table=True),
               query(WAITING, instant=True, table=True),
               query(f"max by (account_id, region) (autotagd_lookup_scan_period_seconds{{{SCOPE}}})", instant=True, table=True),
               query(f"max by (account_id, region) (autotagd_lookup_saturated{{{SCOPE}}})", instant=True, table=True),
               query(f"sum by (account_id, region) (autotagd_lease_held{{{SCOPE}}})", instant=True, table=True)],
              18, 9, unit="s", sort="Watermark lag", transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": {
                  "excludeByName": {"Time": True}, "indexByName": {"account_id": 0, "region": 1} | {f"Value #{q}": i + 2 for i, q in enumerate("ABCDEFGH")},
                  "renameByName": {"account_id": "account", "region": "Region", "Value #A": "Watermark lag", "Value #B": "Floor lag", "Value #C": "backlog",
                                   "Value #D": "deferred", "Value #E": "longest wait", "Value #F": "head scan period", "Value #G": "saturated",
                                   "Value #H": "holders"}}}],
              overrides=[
                  override("account", unit="string"),
                  override("Watermark lag", custom_cellOptions={"type": "color-text"}, thresholds=steps("text", (600, ORANGE), (900, RED))),
                  override("Floor lag", custom_cellOptions={"type": "color-text"}, thresholds=steps("text", (10800, ORANGE), (14400, RED))),
                  override("longest wait", custom_cellOptions={"type": "color-text"}, thresholds=steps("text", (7200, ORANGE), (43200, RED))),
                  override("deferred", unit="locale", decimals=0, custom_cellOptions={"type": "color-text"}, thresholds=steps("text", (1, ORANGE))),
                  override("saturated", unit="bool_yes_no", custom_cellOptions={"type": "color-text"}, thresholds=steps("text", (1, ORANGE))),
                  override("holders", unit="locale", decimals=0, custom_cellOptions={"type": "color-text"}, thresholds=steps(RED, (1, "text"), (2, RED))),
              ]),
    ]


REQUESTS = {
    "ok": GREEN, "throttled": ORANGE, "/denied$/": RED, "failed": PURPLE, "unavailable": PURPLE, "unanswered": YELLOW, "bad_token": YELLOW,
    "bad_range": YELLOW, "not_found": GREY, "busy": BLUE, "canceled": GREY, "refused": RED, "invalid": RED, "tag_limit": RED, "credentials": RED,
    "quota": ORANGE,
}


def hurting():
    return [
        lines("LookupEvents calls",
              "Calls a second, in each account and Region. AWS answers 2, to everyone in the account together: the line. autotagd keeps below poll.rate (1.5), "
              "retries counted. The ten busiest.",
              [query(worst(rate("autotagd_lookup_requests_total", SCOPE, "account_id, region")), PER_SCOPE)], 12, 8,
              alerts=("AutotagdNotPolling",), unit="reqps", decimals=2, limit=True,
              thresholds=steps("transparent", (2, RED)), defaults={"min": 0, "max": 2.2}),
        lines("LookupEvents calls, by outcome",
              "Calls a second of all accounts and Regions chosen, by what came of them. Throttled: others in the account use the same 2 a second; autotagd slows down.",
              [query(rate("autotagd_lookup_requests_total", SCOPE, "outcome"), "{{outcome}}")], 12, 8, unit="reqps", decimals=2, stack=True,
              overrides=painted(REQUESTS), calcs=("lastNotNull", "mean", "max"), legend="right"),
        lines("Throttled",
              "Calls a minute that AWS refused as too fast. Those that tag halve their rate at each, and recover. Tag calls are of all accounts and Regions.",
              [query(rate("autotagd_lookup_requests_total", labeled(SCOPE, 'outcome="throttled"'), per="60"), "LookupEvents"),
               query(rate("autotagd_tag_requests_total", labeled(JOB, 'outcome=~"throttled|quota"'), per="60"), "calls that tag or read tags")],
              8, 8,
              alerts=("AutotagdLookupThrottled", "AutotagdTagCallsThrottled"),
              unit="suffix: /min", decimals=1, overrides=painted({"LookupEvents": ORANGE, "calls that tag or read tags": YELLOW}),
              calcs=("lastNotNull", "mean", "max")),
        lines("Tag calls, by outcome",
              "Calls a second that tag, or that read what tagging needs, by what came of them. Of all accounts and Regions: this metric has neither.",
              [query(rate("autotagd_tag_requests_total", JOB, "outcome"), "{{outcome}}")], 8, 8, unit="reqps", decimals=2, stack=True,
              overrides=painted(REQUESTS), calcs=("lastNotNull", "mean", "max")),
        lines("Tag calls, by API",
              "The same, by the API that was called; the ten busiest. ec2:CreateTags tags what EC2 has, tagging:TagResources nearly all else; the others read.",
              [query(worst(rate("autotagd_tag_requests_total", JOB, "api")), "{{api}}")], 8, 8, unit="reqps", decimals=2,
              calcs=("lastNotNull", "mean", "max")),
    ]


def health():
    process = f'{{{JOB}}} and on (job, instance) autotagd_build_info'
    return [
        table("Instances",
              "Every process that Prometheus scrapes. A click on its address opens its status page, where your browser can reach it.",
              [query(f"max by (instance) (up{{{JOB}}})", instant=True, table=True),
               query(f"time() - max by (instance) (process_start_time_seconds{process})", instant=True, table=True),
               query(f"max by (instance, version) (autotagd_build_info{{{JOB}}})", instant=True, table=True),
               query(f"sum by (instance) (autotagd_lease_held{{{JOB}}})", instant=True, table=True)],
              12, 8,
              alerts=("AutotagdDown", "AutotagdTargetDown", "AutotagdRestarting"),
              unit="locale", decimals=0, sort="up", transformations=[{"id": "merge", "options": {}}, {"id": "organize", "options": {
                  "excludeByName": {"Time": True, "Value #C": True},
                  "indexByName": {"instance": 0, "Value #A": 1, "Value #B": 2, "version": 3, "Value #D": 4},
                  "renameByName": {"Value #A": "up", "Value #B": "running for", "Value #D": "Scopes"}}}],
              overrides=[
                  override("instance", links=[{"title": "Status page of ${__value.raw}", "url": "http://${__value.raw}/", "targetBlank": True}]),
                  override("up", custom_cellOptions={"type": "color-text"}, thresholds=steps(RED, (1, GREEN)), mappings=[
                      {"type": "value", "options": {"0": {"text": "down", "index": 0}, "1": {"text": "up", "index": 1}}}]),
                  override("running for", unit="dtdurations"),
              ]),
        lines("Memory",
              "Resident memory of each process. In a container, compare it with its limit.",
              [query(f"process_resident_memory_bytes{process}", "{{instance}}")], 6, 8, unit="bytes", decimals=1),
        lines("CPU",
              "Cores that each process uses.",
              [query(f"rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval]) and on (job, instance) autotagd_build_info", "{{instance}}")],
              6, 8, unit="short", decimals=3),
        lines("Saves of the checkpoint",
              "A minute, by outcome. error: tried again, nothing is lost, but after a crash more is read twice. fenced: another replica has the Scope now.",
              [query(rate("autotagd_checkpoint_saves_total", SCOPE, "outcome", per="60"), "{{outcome}}")], 6, 8,
              alerts=("AutotagdCheckpointNotSaved",), unit="suffix: /min", decimals=1, stack=True,
              overrides=painted({"ok": GREEN, "error": RED, "fenced": YELLOW}), calcs=("lastNotNull", "mean", "max")),
        lines("Events",
              "A second. Read: on pages of LookupEvents, each time they are read. Create events: new ones that made something. Duplicates: create events read again and "
              "not handed on, which is how none is missed.",
              [query(rate("autotagd_events_read_total", SCOPE), "read"),
               query(rate("autotagd_events_created_total", SCOPE), "create events"),
               query(rate("autotagd_events_duplicate_total", SCOPE), "duplicates")], 6, 8, alerts=("AutotagdNothingSeen",), unit="suffix: /s", decimals=2,
              overrides=painted({"read": GREY, "create events": GREEN, "duplicates": BLUE}), calcs=("lastNotNull", "mean", "max")),
        stat("Configuration",
             "Reload: whether the last reload of the configuration succeeded. Accounts: whether all accounts and their Regions could be read at the last attempt; what could not is as it was before. Directory: whether the file, "
             "as it is now, is in force (also where there is none). The worst of all processes.",
             [query(f"min(autotagd_config_last_reload_successful{{{JOB}}})", "reload", instant=True),
              query(f"min(autotagd_accounts_last_read_successful{{{JOB}}})", "accounts", instant=True),
              query(f"min(autotagd_directory_last_read_successful{{{JOB}}})", "directory", instant=True)],
             6, 8,
             alerts=("AutotagdAccountsUnreadable", "AutotagdDirectoryNotInForce", "AutotagdConfigNotReloaded"),
             unit="locale", thresholds=steps(RED, (1, GREEN)), orientation="horizontal", text="value_and_name", defaults={"mappings": [
                 {"type": "value", "options": {"0": {"text": "failed", "index": 0}, "1": {"text": "read", "index": 1}}}]}),
        lines("Goroutines",
              "Of each process. A number that only ever grows is a leak: report it.",
              [query(f"go_goroutines{process}", "{{instance}}")], 6, 8, unit="locale", decimals=0),
    ]


def variable(name, label, description, wanted):
    return {
        "type": "query", "name": name, "label": label, "description": description, "datasource": DATASOURCE,
        "query": {"qryType": 1, "query": wanted, "refId": "PrometheusVariableQueryEditor-VariableQuery"}, "definition": wanted, "refresh": 2, "sort": 1, "regex": "",
        "multi": True, "includeAll": True, "allValue": ".+", "current": {"text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0, "skipUrlSync": False,
    }


def dashboard():
    return {
        "uid": "autotagd", "title": "autotagd", "tags": ["autotagd", "aws"], "schemaVersion": 42, "version": 1, "id": None, "editable": True,
        "description": "Who created what in AWS, written on the resource itself: tagged versus missed, how fast, how far behind, and at what cost to others.",
        "time": {"from": "now-6h", "to": "now"}, "timepicker": {}, "timezone": "browser", "refresh": "1m", "graphTooltip": 1, "fiscalYearStartMonth": 0,
        "weekStart": "", "liveNow": False, "preload": False,
        "links": [link(title, f"{REPOSITORY}/docs/{page}", tooltip) for title, page, tooltip in (
            ("Runbook", "runbook.md", "What to do when something here is red"),
            ("About this dashboard", "monitoring.md", "What each row tells, and how to import it"),
            ("Status page", "web.md#the-status-page", "What was missed and why, by name; a click on an instance, at the bottom, opens its own"),
        )],
        "annotations": {"list": [{
            "name": "starts", "enable": True, "hide": False, "iconColor": BLUE, "datasource": DATASOURCE,
            "titleFormat": "autotagd started", "textFormat": "{{instance}}", "target": {
                "refId": "starts", "expr": f"time() - process_start_time_seconds{{{JOB}}} < 3 * $__interval_ms / 1000 and on (job, instance) autotagd_build_info",
                "interval": "15s"},
        }]},
        "templating": {"list": [
            {"type": "datasource", "name": "datasource", "label": "Data source", "description": "The Prometheus that scrapes autotagd", "query": "prometheus",
             "refresh": 1, "regex": "", "multi": False, "includeAll": False, "options": [], "hide": 0, "skipUrlSync": False},
            variable("job", "Job", "As the scrape configuration calls it", "label_values(autotagd_build_info, job)"),
            variable("account", "Account", "The AWS account in which CloudTrail showed the event", f"label_values(autotagd_lease_held{{{JOB}}}, account_id)"),
            variable("region", "Region", "The Region in which CloudTrail showed the event",
                     f'label_values(autotagd_lease_held{{{JOB},account_id=~"$account"}}, region)'),
        ]},
        "panels": arranged([
            ("Are we covered?", covered()), ("How fast?", fast()), ("Are we behind?", behind()), ("Are we hurting others?", hurting()), ("Health", health()),
        ]),
    }


if __name__ == "__main__":
    text = json.dumps(dashboard(), indent=2, ensure_ascii=False) + "\n"  # all of it before the file is touched
    with open(sys.argv[1], "w", encoding="utf-8") as f:
        f.write(text)
