# ruff: noqa: E501 - a document is written as it is
"""Documents that refer to what lies elsewhere: reading them fetches nothing."""

from __future__ import annotations

import base64

import pytest

from tests.attacks.ssrf.listener import listening
from tests.support.edge import Edge

HTML = """<html><head><base href="{url}"><title>x</title><meta http-equiv="refresh" content="0;url={url}">
<link rel="stylesheet" href="{url}a.css"><script src="{url}a.js"></script><style>@import "{url}b.css";
p {{ background: url({url}c.png) }}</style></head><body background="{url}d.png"><p>text</p><img src="{url}e.png"
srcset="{url}f.png 2x"><iframe src="{url}g"></iframe><object data="{url}h"></object><embed src="{url}i"><video
poster="{url}j" src="{url}k"></video><svg><use href="{url}l"/><image href="{url}m"/></svg><a ping="{url}n"
href="{url}o">link</a><form action="{url}p"><input type="image" src="{url}q"></form></body></html>"""
MARKDOWN = """# A title

text ![image]({url}a.png) [link]({url}b) <{url}c> ![[{url}d]] {{% include {url}e %}} !include {url}f

<img src="{url}g"> <script src="{url}h"></script>

[reference]: {url}i
"""
ENTITY = """<!DOCTYPE html [<!ENTITY x SYSTEM "{url}a"> <!ENTITY % y SYSTEM "{url}b"> %y;]>
<?xml-stylesheet href="{url}c"?><html><body><p>&x; text</p><xi:include href="{url}d"/></body></html>"""
PDF = b"""%PDF-1.7
1 0 obj << /Type /Catalog /Pages 2 0 R /OpenAction << /S /URI /URI (%(url)sa) >> /AA << /WC << /S /JavaScript
/JS (app.launchURL\\("%(url)sb"\\)) >> >> /AcroForm << /XFA 6 0 R /Fields [] >> /URI << /Base (%(url)s) >> >> endobj
2 0 obj << /Type /Pages /Count 1 /Kids [3 0 R] >> endobj
3 0 obj << /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R /Resources << /Font << /F1 4 0 R >>
/XObject << /X 7 0 R >> >> /AA << /O << /S /SubmitForm /F << /FS /URL /F (%(url)sc) >> >> >> /Annots [ << /Type /Annot
/Subtype /Link /Rect [0 0 9 9] /A << /S /GoToR /F << /FS /URL /F (%(url)sd) >> /D [0 /Fit] >> >> ] >> endobj
4 0 obj << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> endobj
5 0 obj << /Length 51 >> stream
BT /F1 12 Tf 50 700 Td (A page of text.) Tj ET /X Do
endstream endobj
6 0 obj << /Length 9 /F << /FS /URL /F (%(url)se) >> >> stream
<xdp></x>
endstream endobj
7 0 obj << /Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray /Length 0
/F << /FS /URL /F (%(url)sf) >> >> stream
endstream endobj
trailer << /Root 1 0 R /Size 8 >>
"""
DOCUMENTS = {
    "text/html": HTML,
    "text/markdown": MARKDOWN,
    "text/html; entities": ENTITY,
    "text/plain": "see {url}a and file:///etc/passwd",
    "application/pdf": PDF,
}


@pytest.mark.parametrize("kind", DOCUMENTS)
async def test_a_document_fetches_nothing(edge: Edge, kind: str) -> None:
    async with listening() as listener:
        url, form = f"http://127.0.0.1:{listener.port}/", DOCUMENTS[kind]
        content = (
            form.replace(b"%(url)s", url.encode())
            if isinstance(form, bytes)
            else form.format(url=url).encode()
        )
        body = {"media_type": kind.partition(";")[0], "content": base64.b64encode(content).decode(),
                "source": f"{url}source"}  # fmt: skip
        answer = await edge.post("/v1/documents", body)
        assert answer.status == 200 or answer.reason == "DOCUMENT_UNREADABLE", answer
        if answer.status == 200:
            await edge.call("DELETE", f"/v1/documents/{answer.body['id']}")
        assert listener.seen == []
