// An SMSC made of node-smpp, for nodesmpp_test.go: it accepts what is submitted
// and sends a receipt for it. What it sees goes to stdout, a JSON object a line;
// what it shall do comes from stdin, a word a line; it ends with stdin.
//
//   node smsc.js ANSWER RECEIPT   the bases of message ids in submit_sm_resp and in receipts
'use strict';
const readline = require('node:readline');
const smpp = require('smpp');

const [answerBase, receiptBase] = process.argv.slice(2).map(Number);
let lastID = 0x9f; // the next ones have letters in base 16
let bound = null;

const tell = (event, more) => process.stdout.write(JSON.stringify({ event, ...more }) + '\n');

const server = smpp.createServer((session) => {
  session.socket.setNoDelay(true);
  session.on('error', (e) => tell('error', { text: String(e) }));
  session.on('close', () => tell('closed'));
  session.on('bind_transceiver', (pdu) => {
    const known = pdu.system_id === 'mobileid' && pdu.password === 'secret';
    session.send(pdu.response({ system_id: 'node', command_status: known ? 0 : smpp.ESME_RINVPASWD }));
    bound = session;
    tell('bind_transceiver', { version: pdu.interface_version });
  });
  session.on('submit_sm', (pdu) => {
    const id = ++lastID;
    session.send(pdu.response({ message_id: id.toString(answerBase) }));
    const { message, udh } = pdu.short_message;
    tell('submit_sm', {
      source: pdu.source_addr, dest: pdu.destination_addr, coding: pdu.data_coding, text: message,
      udh: udh ? Buffer.concat(udh).toString('hex') : '', validity: pdu.validity_period,
    });
    const named = id.toString(receiptBase);
    session.deliver_sm({
      source_addr_ton: 1, source_addr_npi: 1, source_addr: pdu.destination_addr, destination_addr: pdu.source_addr,
      esm_class: smpp.ESM_CLASS.MC_DELIVERY_RECEIPT,
      short_message: `id:${named} sub:001 dlvrd:001 submit date:2611231200 done date:2611231201 stat:DELIVRD err:000 text:`,
      // Every second one says so in its text only.
      ...(id % 2 ? {} : { receipted_message_id: named, message_state: 2 }),
    }, (answer) => tell('deliver_sm_resp', { status: answer.command_status }));
  });
  session.on('enquire_link', (pdu) => {
    session.send(pdu.response());
    tell('enquire_link');
  });
  session.on('unbind', (pdu) => {
    session.send(pdu.response());
    tell('unbind');
  });
});

const does = {
  enquire_link: () => bound.enquire_link((pdu) => tell('enquire_link_resp', { status: pdu.command_status })),
  unbind: () => bound.unbind((pdu) => tell('unbind_resp', { status: pdu.command_status })),
  cut: () => bound.destroy(),
};
readline.createInterface({ input: process.stdin }).on('line', (word) => does[word]()).on('close', () => process.exit(0));
server.listen(0, '127.0.0.1', () => tell('listening', { port: server.address().port }));
