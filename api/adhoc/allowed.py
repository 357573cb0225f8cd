"""What an ad-hoc statement may contain: an allow-list. Whatever is not named here is refused.

Belongs here: names of parse nodes, functions, types, operators and collations. Does not belong
here: how a statement is compared with them (``api.adhoc.gate``).

A name stands for every overload that ``pg_catalog`` has of it. A test asks Postgres that none of
them is volatile, and that none reads the catalog, settings, files, large objects or other sessions.
"""

from __future__ import annotations


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


NODES = _words("""
    A_ArrayExpr A_Const A_Expr A_Indices A_Indirection A_Star Alias BoolExpr Boolean BooleanTest
    CaseExpr CaseWhen CoalesceExpr CollateClause ColumnRef CommonTableExpr Float FuncCall
    GroupingFunc GroupingSet Integer JoinExpr JsonAggConstructor JsonArrayAgg JsonArrayConstructor
    JsonFormat JsonIsPredicate JsonKeyValue JsonObjectAgg JsonObjectConstructor JsonOutput
    JsonReturning JsonValueExpr MinMaxExpr NamedArgExpr NullTest RangeFunction RangeSubselect
    RangeVar ResTarget RowExpr SQLValueFunction SelectStmt SortBy String SubLink TypeCast TypeName
    WindowDef WithClause
    """)

_AGGREGATES = """
    any_value array_agg avg bit_and bit_or bool_and bool_or corr count covar_pop covar_samp every
    json_agg json_object_agg jsonb_agg jsonb_object_agg max min mode percentile_cont percentile_disc
    regr_avgx regr_avgy regr_count regr_intercept regr_r2 regr_slope regr_sxx regr_sxy regr_syy
    stddev stddev_pop stddev_samp string_agg sum var_pop var_samp variance
"""
_WINDOW = """
    cume_dist dense_rank first_value lag last_value lead nth_value ntile percent_rank rank
    row_number
"""
_NUMBERS = """
    abs acos asin atan atan2 cbrt ceil ceiling cos cot degrees div exp factorial floor gcd lcm ln
    log log10 min_scale mod pi power radians round scale sign sin sqrt tan trim_scale trunc
    width_bucket
"""
_TEXTS = """
    ascii bit_length btrim char_length character_length chr concat concat_ws format initcap
    is_normalized left length like_escape lower lpad ltrim md5 normalize octet_length overlay
    position regexp_count regexp_instr regexp_like regexp_match regexp_matches regexp_replace
    regexp_split_to_array regexp_split_to_table regexp_substr repeat replace reverse right rpad
    rtrim similar_to_escape split_part starts_with string_to_array string_to_table strpos substr
    substring to_hex translate upper
"""
_TIMES = """
    age date_add date_bin date_part date_subtract date_trunc extract isfinite justify_days
    justify_hours justify_interval make_date make_interval make_time make_timestamp make_timestamptz
    now overlaps statement_timestamp timezone to_char to_date to_number to_timestamp
    transaction_timestamp
"""
_JSON = """
    array_to_json json_array_elements json_array_elements_text json_array_length json_build_array
    json_build_object json_each json_each_text json_extract_path json_extract_path_text json_object
    json_object_keys json_strip_nulls json_typeof jsonb_array_elements jsonb_array_elements_text
    jsonb_array_length jsonb_build_array jsonb_build_object jsonb_each jsonb_each_text
    jsonb_extract_path jsonb_extract_path_text jsonb_object jsonb_object_keys jsonb_pretty
    jsonb_set jsonb_strip_nulls jsonb_typeof row_to_json to_json to_jsonb
"""
_SETS = """
    array_append array_cat array_length array_lower array_ndims array_position array_positions
    array_prepend array_remove array_replace array_to_string array_upper cardinality generate_series
    generate_subscripts num_nonnulls num_nulls trim_array unnest
    daterange int4range int8range isempty lower_inc lower_inf numrange range_merge tsrange tstzrange
    upper_inc upper_inf
"""
_CASTS = "date float4 float8 int2 int4 int8 interval numeric text time timestamp timestamptz"

FUNCTIONS = _words(f"{_AGGREGATES}{_WINDOW}{_NUMBERS}{_TEXTS}{_TIMES}{_JSON}{_SETS}{_CASTS}")
"""Functions of ``pg_catalog``. ``repeat``, ``generate_series`` and their like can make very much
out of little. The timeouts, the limit of temporary files and the cap of the answer bound them, but
Postgres bounds no session's memory: in ten seconds one was seen to take 3 GB."""

TYPES = _words("""
    bool bpchar date daterange float4 float8 int2 int4 int4range int8 int8range interval json jsonb
    numeric numrange text time timestamp timestamptz timetz tsrange tstzrange uuid varchar
    """)

OPERATORS = _words("""
    + - * / % ^ |/ ||/ @ & | # ~ << >> < > = <> != <= >= || ~~ ~~* !~~ !~~* ~* !~ !~* ^@
    -> ->> #> #>> #- @> <@ ? ?| ?& && -|- &< &>
    """)

COLLATIONS = frozenset({"C", "POSIX", "default", "pg_c_utf8", "ucs_basic", "unicode"})

SYSTEM_COLUMNS = frozenset({"cmax", "cmin", "ctid", "tableoid", "xmax", "xmin"})

IMPLICIT_NAMES = _words("""
    ?column? array case coalesce current_date current_time current_timestamp exists greatest
    grouping json_array json_arrayagg json_object json_objectagg key least localtime localtimestamp
    nullif ordinality row value
    """)
"""Names that Postgres gives to columns without a name, besides those of functions and types."""
