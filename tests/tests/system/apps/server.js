// Tells what it got. The tests read it.
const fs = require('fs')
const has = (name) => { try { require(name); return 'with' } catch { return 'without' } }
const built = fs.existsSync('built') ? fs.readFileSync('built', 'utf8') : 'nothing'
const body = `node ${process.version}, is-number ${require('is-number')(5)}, ${has('isarray')} development packages, built ${built}, ${process.env.NODE_ENV}, round 1\n`
require('http').createServer((request, response) => response.end(body)).listen(process.env.PORT)
