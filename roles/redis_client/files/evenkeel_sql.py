# Copyright (c) 2026, the evenkeel.flask authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide whether a statement of SQL only reads. Pure.

A statement reads if all its words are known to: a first word that reads, no word that writes, and
no call of a function that is not in the list below. An unknown word counts as a write.

This file is part of each release and runs inside the app's own process. It needs Python 3.9.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

READS, WRITES, CALLS, DRAWS = "reads", "writes", "calls", "draws"

# Skipped is what every database skips.
_WORDS = r"""
  | (?P<word>[^\W\d]\w*)
  | (?P<other>\S)
"""
_SKIPPED = r"""
    (?P<text>'(?:[^']|'')*' | %\(\w+\)s)
  | (?P<comment>--[^\n]*(?:\n|$) | /\*.*?\*/)
  | (?P<quoted>"(?:[^"]|"")*" | `(?:[^`]|``)*`)
"""
_TOKENS = re.compile(_SKIPPED + _WORDS, re.VERBOSE | re.DOTALL)
# The end of such a literal or comment depends on the database: backslashes, # of MySQL, -- without a
# space, /*! and /*M! that MySQL and MariaDB run, comments in comments, $$. In such text each word counts.
_AMBIGUOUS = re.compile(r"\\|\#|--(?!\s|$)|/\*M?!|/\*(?:(?!\*/).)*/\*|\$\w*\$", re.DOTALL)
_ALL_TOKENS = re.compile(r"(?P<text>(?!))" + _WORDS, re.VERBOSE | re.DOTALL)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_FIRST = _words(
    "SELECT WITH VALUES TABLE SHOW DESCRIBE DESC EXPLAIN PRAGMA BEGIN START COMMIT ROLLBACK END"
    " SAVEPOINT RELEASE SET RESET"
)
_WRITING = _words(
    "INSERT UPDATE DELETE MERGE REPLACE CREATE ALTER DROP TRUNCATE INTO ANALYZE ANALYSE SHARE"
)
# Behind these first words, these change more than the session.
_LASTING = {
    "SET": ("GLOBAL", "PERSIST", "PERSIST_ONLY", "PASSWORD", "DEFAULT", "RESOURCE", "@"),
    "RESET": ("MASTER", "REPLICA", "SLAVE", "PERSIST"),
    "COMMIT": ("PREPARED",),
    "ROLLBACK": ("PREPARED",),
}
_PRAGMAS = _words(
    """busy_timeout cache_size case_sensitive_like collation_list compile_options data_version
    database_list defer_foreign_keys encoding foreign_key_check foreign_key_list foreign_keys
    freelist_count function_list index_info index_list index_xinfo integrity_check max_page_count
    mmap_size module_list page_count page_size pragma_list query_only quick_check recursive_triggers
    schema_version synchronous table_info table_list table_xinfo temp_store user_version"""
)
# Words before a parenthesis that are not functions, and types.
_SYNTAX = _words(
    """ALL AND ANY ARRAY AS ASYMMETRIC BETWEEN BIGINT BINARY BIT BLOB BY CASE CHAR CHARACTER CHECK
    COLLATE CROSS CUBE DATE DATETIME DEC DECIMAL DESC DISTINCT DOUBLE ELSE ESCAPE EXCEPT EXISTS
    EXPLAIN FETCH FILTER FLOAT FOLLOWING FROM FULL GROUPING GROUPS HAVING ILIKE IN INNER INT INTEGER
    INTERSECT INTERVAL IS JOIN KEY LATERAL LEFT LIKE LIMIT MATCH MATERIALIZED MINUS MULTISET NATURAL
    NCHAR NEXT NOT NULLS NUMERIC NVARCHAR OF OFFSET ON OR ORDER OUTER OVER PARTITION PRECEDING
    RANGE REAL RECURSIVE REGEXP RETURNING RIGHT RLIKE ROLLUP ROW ROWS SELECT SETS SIMILAR SIMPLE SOME
    SYMMETRIC TABLE TEXT THEN TIME TIMESTAMP TIMESTAMPTZ TO UNBOUNDED UNION UNIQUE USING VALUES
    VARBINARY VARBIT VARCHAR VARCHAR2 VARYING WHEN WHERE WINDOW WITH WITHIN XOR"""
)
# Functions of SQLite, PostgreSQL and MySQL that change nothing. A name that is missing here costs a
# page its place in the cache, and nothing else.
_HARMLESS = _words(
    """ABS ACOS ADDDATE ADDTIME AGE ANY_VALUE ARRAY_AGG ARRAY_APPEND ARRAY_CAT ARRAY_DIMS
    ARRAY_FILL ARRAY_LENGTH ARRAY_LOWER ARRAY_NDIMS ARRAY_POSITION ARRAY_POSITIONS ARRAY_PREPEND
    ARRAY_REMOVE ARRAY_REPLACE ARRAY_TO_JSON ARRAY_TO_STRING ARRAY_UPPER ASCII ASIN ATAN ATAN2 AVG
    BIT_AND BIT_COUNT BIT_LENGTH BIT_OR BIT_XOR BM25 BOOL_AND BOOL_OR BTRIM CARDINALITY CAST CBRT
    CEIL CEILING CHAR_LENGTH CHARACTER_LENGTH CHR CLOCK_TIMESTAMP COALESCE CONCAT CONCAT_WS
    CONVERT CONVERT_TZ CORR COS COT COUNT COVAR_POP COVAR_SAMP CUME_DIST CURDATE CURRENT_DATABASE
    CURRENT_DATE CURRENT_SCHEMA CURRENT_SCHEMAS CURRENT_SETTING CURRENT_TIME CURRENT_TIMESTAMP
    CURRENT_USER CURTIME DATABASE DATE_ADD DATE_BIN DATE_FORMAT DATE_PART DATE_SUB DATE_TRUNC
    DATEDIFF DAY DAYNAME DAYOFMONTH DAYOFWEEK DAYOFYEAR DECODE DEGREES DENSE_RANK DIV ELT ENCODE
    EVERY EXP EXTRACT FIELD FIND_IN_SET FIRST_VALUE FLOOR FORMAT FORMAT_TYPE FROM_DAYS FROM_UNIXTIME
    GENERATE_SERIES GENERATE_SUBSCRIPTS GLOB GREATEST GROUP_CONCAT HAS_TABLE_PRIVILEGE HEX
    HIGHLIGHT HOUR IF IFNULL IIF INITCAP INSTR ISNULL JSON JSON_AGG JSON_ARRAY
    JSON_ARRAY_ELEMENTS JSON_ARRAY_ELEMENTS_TEXT JSON_ARRAY_LENGTH JSON_ARRAYAGG JSON_BUILD_ARRAY
    JSON_BUILD_OBJECT JSON_CONTAINS JSON_EACH JSON_EACH_TEXT JSON_EXTRACT JSON_EXTRACT_PATH
    JSON_EXTRACT_PATH_TEXT JSON_GROUP_ARRAY JSON_GROUP_OBJECT JSON_KEYS JSON_LENGTH JSON_OBJECT
    JSON_OBJECT_AGG JSON_OBJECT_KEYS JSON_OBJECTAGG JSON_OVERLAPS JSON_QUOTE JSON_SEARCH
    JSON_TREE JSON_TYPE JSON_TYPEOF JSON_UNQUOTE JSON_VALID JSON_VALUE JSONB_AGG JSONB_ARRAY_ELEMENTS
    JSONB_ARRAY_ELEMENTS_TEXT JSONB_ARRAY_LENGTH JSONB_BUILD_ARRAY JSONB_BUILD_OBJECT JSONB_EACH
    JSONB_EACH_TEXT JSONB_EXTRACT_PATH JSONB_EXTRACT_PATH_TEXT JSONB_OBJECT_AGG JSONB_OBJECT_KEYS
    JSONB_PATH_EXISTS JSONB_PATH_MATCH JSONB_PATH_QUERY JSONB_PATH_QUERY_ARRAY JSONB_PATH_QUERY_FIRST
    JSONB_PRETTY JSONB_TYPEOF JULIANDAY JUSTIFY_DAYS JUSTIFY_HOURS JUSTIFY_INTERVAL LAG LAST_DAY
    LAST_VALUE LCASE LEAD LEAST LEN LENGTH LEVENSHTEIN LIKELIHOOD LN LOCALTIME LOCALTIMESTAMP LOCATE
    LOG LOG10 LOG2 LOWER LPAD LTRIM MAKE_DATE MAKE_INTERVAL MAKE_TIME MAKE_TIMESTAMP
    MAKE_TIMESTAMPTZ MAX MD5 MEDIAN MID MIN MINUTE MOD MODE MONTH MONTHNAME NOW NTH_VALUE NTILE
    NULLIF NUM_NONNULLS NUM_NULLS NVL OBJ_DESCRIPTION OCTET_LENGTH ORD OVERLAY PERCENT_RANK
    PERCENTILE_CONT PERCENTILE_DISC PG_GET_CONSTRAINTDEF PG_GET_EXPR PG_GET_INDEXDEF
    PG_GET_SERIAL_SEQUENCE PG_GET_VIEWDEF PG_RELATION_SIZE PG_SLEEP PG_TABLE_IS_VISIBLE
    PG_TOTAL_RELATION_SIZE PG_TYPE_IS_VISIBLE PG_TYPEOF PHRASETO_TSQUERY PI PLAINTO_TSQUERY POSITION
    POW POWER PRINTF QUARTER QUOTE QUOTE_IDENT QUOTE_LITERAL QUOTE_NULLABLE RADIANS RANK REGEXP_COUNT
    REGEXP_INSTR REGEXP_LIKE REGEXP_MATCH REGEXP_MATCHES REGEXP_SPLIT_TO_ARRAY REGEXP_SPLIT_TO_TABLE
    REGEXP_SUBSTR REGR_SLOPE REPEAT REVERSE ROUND ROW_NUMBER ROW_TO_JSON RPAD RTRIM SCHEMA
    SEC_TO_TIME SECOND SHA1 SHA2 SHA256 SIGN SIMILARITY SIN SLEEP SNIPPET SOUNDEX SPLIT_PART SQRT
    SQUARE ST_AREA ST_ASBINARY ST_ASEWKB ST_ASEWKT ST_ASGEOJSON ST_ASTEXT ST_BUFFER ST_CENTROID
    ST_CONTAINS ST_COVEREDBY ST_COVERS ST_DISTANCE ST_DWITHIN ST_ENVELOPE ST_GEOMFROMEWKB
    ST_GEOMFROMEWKT ST_GEOMFROMGEOJSON ST_GEOMFROMTEXT ST_INTERSECTS ST_LENGTH ST_MAKEENVELOPE
    ST_MAKEPOINT ST_POINT ST_SETSRID ST_SRID ST_TRANSFORM ST_WITHIN ST_X ST_Y STARTS_WITH
    STATEMENT_TIMESTAMP STD STDDEV STDDEV_POP STDDEV_SAMP STR_TO_DATE STRFTIME STRING_AGG
    STRING_TO_ARRAY STRING_TO_TABLE STRPOS SUBDATE SUBSTR SUBSTRING SUBSTRING_INDEX SUBTIME SUM
    SYSDATE TAN TIME_FORMAT TIMEDIFF TIMEOFDAY TIMESTAMPADD TIMESTAMPDIFF TIMEZONE TO_ASCII TO_BASE64
    TO_CHAR TO_DATE TO_DAYS TO_HEX TO_JSON TO_JSONB TO_NUMBER TO_REGCLASS TO_TIMESTAMP TO_TSQUERY
    TO_TSVECTOR TOTAL TRANSACTION_TIMESTAMP TRANSLATE TRIM TRUNC TS_HEADLINE TS_RANK TS_RANK_CD
    TYPEOF UCASE UNACCENT UNHEX UNICODE UNISTR UNIX_TIMESTAMP UNIXEPOCH UNNEST UPPER VAR_POP VAR_SAMP
    VARIANCE VERSION WEBSEARCH_TO_TSQUERY WEEK WEEKDAY WEEKOFYEAR WIDTH_BUCKET WORD_SIMILARITY
    YEAR YEARWEEK ZEROBLOB"""
)
# Another value each time. They change nothing.
_RANDOM = _words("RANDOM RANDOMBLOB RAND UUID GEN_RANDOM_UUID UUID_GENERATE_V4 NEWID")


@dataclass(frozen=True)
class Statement:
    """The kind of a statement, and the word that decides it."""

    kind: str
    word: str = ""


@functools.lru_cache(4096)
def classify(text: str) -> Statement:
    """Return what a statement does; of several in one text, the worst."""
    tokens = [
        (match.lastgroup or "", match.group())
        for match in (_ALL_TOKENS if _AMBIGUOUS.search(text) else _TOKENS).finditer(text)
        if match.lastgroup != "comment"
    ]
    found = Statement(READS)
    begins, is_pragma = True, False
    for index, (kind, token) in enumerate(tokens):
        word = token.upper()
        following = tokens[index + 1][1] if index + 1 < len(tokens) else ""
        if token == ";":
            begins = True
            continue
        if begins:
            if word == "(":
                continue
            begins, is_pragma = False, word == "PRAGMA"
            writes = _first(word, tokens[index + 1 :])
            if writes:
                return Statement(WRITES, writes)
            continue
        if is_pragma:
            continue
        is_name = index > 0 and tokens[index - 1][1] == "."
        if kind == "word" and not is_name and word in _WRITING:
            # replace() and the columns of a DISTINCT ... are functions and names.
            if word == "REPLACE" and following == "(":
                continue
            return Statement(WRITES, word)
        if following == "(" and kind in ("word", "quoted"):
            found = _worse(found, _call(tokens, index))
    return found


def _first(word: str, rest: list[tuple[str, str]]) -> str:
    """The beginning of a statement, if that alone shows that it writes."""
    if word not in _FIRST:
        return word
    if word == "PRAGMA":
        name = _pragma(rest)
        return "" if name in _PRAGMAS else f"PRAGMA {name}"
    following = rest[0][1].upper() if rest else ""
    if word == "START":
        return "" if following == "TRANSACTION" else word
    return f"{word} {following}" if following in _LASTING.get(word, ()) else ""


def _worse(one: Statement, other: Statement) -> Statement:
    order = (READS, DRAWS, CALLS, WRITES)
    return max(one, other, key=lambda statement: order.index(statement.kind))


def _pragma(tokens: list[tuple[str, str]]) -> str:
    """The name of a pragma, behind its schema if it has one."""
    if len(tokens) > 2 and tokens[1][1] == ".":
        tokens = tokens[2:]
    name = tokens[0][1].lower() if tokens else ""
    # A value of these would be stored in the file.
    is_set = len(tokens) > 1 and tokens[1][1] in ("=", "(")
    lasting = ("user_version", "schema_version", "encoding", "page_size", "max_page_count")
    return f"{name} =" if is_set and name in lasting else name


def _call(tokens: list[tuple[str, str]], index: int) -> Statement:
    """Return the kind of a word before a parenthesis."""
    kind, token = tokens[index]
    word = token.upper()
    before = tokens[index - 1][1].upper() if index else ""
    if before == ".":
        schema = tokens[index - 2][1].upper() if index > 1 else ""
        if schema not in ("PG_CATALOG", "SYS", "MAIN"):
            return Statement(CALLS, f"{schema.lower()}.{token}")
    elif before in ("WITH", "RECURSIVE", "AS") or _is_a_later_cte(tokens, index):
        # The columns of a common table expression, or of an alias.
        return Statement(READS)
    elif kind == "word" and word in _SYNTAX:
        return Statement(READS)
    if kind == "word" and word in _RANDOM:
        return Statement(DRAWS, word.lower())
    if kind == "word" and (word in _HARMLESS or word in _SYNTAX):
        return Statement(READS)
    return Statement(CALLS, token)


def _is_a_later_cte(tokens: list[tuple[str, str]], index: int) -> bool:
    """Whether it is C(name (columns) AS (SELECT), and not the columns of what a function returns."""
    end = index + 1
    while end < len(tokens) and tokens[end][1] != ")":
        if tokens[end][0] not in ("word", "quoted") and tokens[end][1] not in ("(", ","):
            return False
        end += 1
    following = [token.upper() for _kind, token in tokens[end + 1 : end + 6]]
    if following[:1] != ["AS"]:
        return False
    rest = [word for word in following[1:] if word not in ("NOT", "MATERIALIZED")]
    return rest[:1] == ["("] and rest[1:2] in (["SELECT"], ["WITH"], ["VALUES"], ["TABLE"], ["("])
