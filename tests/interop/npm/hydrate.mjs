// node hydrate.mjs --images=FOLDER companion.dcm
// Prints one line of JSON: what @cornerstonejs/adapters (OHIF's measurement panel) makes of a measurement SR, and whether OHIF's
// loader would draw it: every group needs a tracking identifier, a tracking UID and a graphic, or the viewport stays blank.
import fs from 'node:fs';
import path from 'node:path';

const g = globalThis;
g.window ??= g; g.self ??= g;
g.document ??= { createElement: () => ({ getContext: () => null, style: {} }), addEventListener() {} };
const print = console.log;
console.log = console.warn = () => {};
const dcmjs = (await import('dcmjs')).default;
const { adaptersSR } = await import('@cornerstonejs/adapters');
const { metaData } = await import('@cornerstonejs/core');
const { DicomMessage, DicomMetaDictionary } = dcmjs.data;

const read = file => {
  const bytes = fs.readFileSync(file);
  const parsed = DicomMessage.readFile(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
  const set = DicomMetaDictionary.naturalizeDataset(parsed.dict);
  set._meta = DicomMetaDictionary.namifyDataset(parsed.meta);
  return set;
};
const list = x => (x == null ? [] : Array.isArray(x) ? x : [x]);
const concept = item => list(item?.ConceptNameCodeSequence)[0]?.CodeValue;

const folder = process.argv.find(a => a.startsWith('--images=')).slice('--images='.length);
const file = process.argv.slice(2).find(a => !a.startsWith('--'));
const images = {}, imageIds = {};
for (const name of fs.readdirSync(folder).filter(n => n.endsWith('.dcm'))) {
  const set = read(path.join(folder, name));
  if (!set.ImageOrientationPatient) continue;
  images['img:' + set.SOPInstanceUID] = set;
  imageIds[set.SOPInstanceUID + ':1'] = 'img:' + set.SOPInstanceUID;
}
metaData.addProvider((type, id) => {
  const d = images[id];
  if (!d) return undefined;
  if (type === 'instance') return d;
  if (type === 'imagePixelModule') return { rows: d.Rows, columns: d.Columns };
  if (type !== 'imagePlaneModule') return undefined;
  const o = list(d.ImageOrientationPatient).map(Number), s = list(d.PixelSpacing).map(Number);
  return {
    frameOfReferenceUID: d.FrameOfReferenceUID, rows: d.Rows, columns: d.Columns, imageOrientationPatient: o,
    rowCosines: o.slice(0, 3), columnCosines: o.slice(3), imagePositionPatient: list(d.ImagePositionPatient).map(Number),
    pixelSpacing: s, rowPixelSpacing: s[0], columnPixelSpacing: s[1],
  };
}, 1000);

const sr = read(file);
const measurements = list(sr.ContentSequence).find(i => concept(i) === '126010');
const blank = [];
for (const group of list(measurements?.ContentSequence)) {
  const children = list(group.ContentSequence);
  if (!children.some(c => concept(c) === '112039')) blank.push('no tracking identifier');
  if (!children.some(c => concept(c) === '112040')) blank.push('no tracking UID');
  if (!children.some(c => list(c.ContentSequence).some(x => /^SCOORD/.test(x.ValueType)))) blank.push('no graphic');
}
const state = adaptersSR.Cornerstone3D.MeasurementReport.generateToolState(sr, imageIds, metaData);
const tools = Object.fromEntries(Object.entries(state).map(([tool, found]) => [tool, found.map(m => ({
  label: m.annotation?.data?.label ?? null,
  finding: m.finding?.CodeMeaning ?? m.finding?.[0]?.CodeMeaning ?? null,
  stats: Object.values(m.annotation?.data?.cachedStats ?? {})[0] ?? null,
  points: (m.annotation?.data?.handles?.points ?? []).map(p => [...p]),
}))]));
print(JSON.stringify({ root: list(sr.ConceptNameCodeSequence)[0]?.CodeValue, blank, tools }));
process.exit(0);
