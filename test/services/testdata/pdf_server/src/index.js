// GET /api/render?url=ADDRESS answers with the page at ADDRESS as PDF.
'use strict';

const express = require('express');
const puppeteer = require('puppeteer-core');

async function render(url) {
  const browser = await puppeteer.launch({
    executablePath: process.env.BROWSER_EXECUTABLE_PATH,
    headless: 'shell',
    args: ['--no-sandbox', '--disable-setuid-sandbox', '--disable-gpu'],
  });
  try {
    const page = await browser.newPage();
    await page.goto(url, { waitUntil: 'networkidle0' });
    return await page.pdf({ format: 'A4', printBackground: true });
  } finally {
    await browser.close();
  }
}

const app = express();
app.get('/api/render', (request, response, next) => {
  render(request.query.url)
    .then((pdf) => response.type('pdf').send(Buffer.from(pdf)))
    .catch(next);
});
app.listen(process.env.PORT, () => console.log(`listening on ${process.env.PORT}`));
