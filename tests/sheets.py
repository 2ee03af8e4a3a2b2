"""A spreadsheet in its smallest form, for tests of those who read one."""

import datetime as dt
from xml.sax.saxutils import escape
from zipfile import ZipFile

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
PART = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"


def write_xlsx(path, **sheets):
    """Writes sheets, each a list of rows: texts, numbers, truth values, dates and times, None."""
    names = list(sheets)
    links = "".join(
        f'<Relationship Id="s{i}" Type="{PART}/worksheet" Target="worksheets/sheet{i}.xml"/>'
        for i in range(len(names))
    )
    links += f'<Relationship Id="styles" Type="{PART}/styles" Target="styles.xml"/>'
    entries = "".join(
        f'<sheet name="{name}" sheetId="{i + 1}" r:id="s{i}"/>' for i, name in enumerate(names)
    )
    start = f'<Relationship Id="w" Type="{PART}/officeDocument" Target="xl/workbook.xml"/>'
    with ZipFile(path, "w") as file:
        file.writestr("[Content_Types].xml", f'<Types xmlns="{PACKAGE}/content-types"/>')
        file.writestr("_rels/.rels", _linked(start))
        file.writestr("xl/_rels/workbook.xml.rels", _linked(links))
        book = f'<workbook xmlns="{MAIN}" xmlns:r="{PART}"><sheets>{entries}</sheets></workbook>'
        file.writestr("xl/workbook.xml", book)
        formats = '<cellXfs><xf numFmtId="0"/><xf numFmtId="14"/><xf numFmtId="22"/></cellXfs>'
        file.writestr("xl/styles.xml", f'<styleSheet xmlns="{MAIN}">{formats}</styleSheet>')
        for i, rows in enumerate(sheets.values()):
            lines = "".join(f"<row>{''.join(map(_cell, row))}</row>" for row in rows)
            sheet = f'<worksheet xmlns="{MAIN}"><sheetData>{lines}</sheetData></worksheet>'
            file.writestr(f"xl/worksheets/sheet{i}.xml", sheet)


def _linked(links):
    return f'<Relationships xmlns="{PACKAGE}/relationships">{links}</Relationships>'


def _cell(value):
    if value is None:
        return "<c/>"
    if isinstance(value, bool):
        return f'<c t="b"><v>{int(value)}</v></c>'
    if isinstance(value, dt.date):
        is_time = isinstance(value, dt.datetime)
        moment = value if is_time else dt.datetime.combine(value, dt.time())
        days = (moment - dt.datetime(1899, 12, 30)) / dt.timedelta(days=1)
        return f'<c s="{2 if is_time else 1}"><v>{days}</v></c>'
    if isinstance(value, str):
        return f'<c t="inlineStr"><is><t>{escape(value)}</t></is></c>'
    return f"<c><v>{value}</v></c>"
