"use strict";
// Unpack what the page carries, and start the runtime.

// Return the bytes of a part of the page: base64 of a gzip file. Its text is dropped, so that it is held once.
async function unpack(name) {
  const element = document.getElementById(`part-${name}`);
  const packed = Uint8Array.from(atob(element.textContent), (letter) => letter.charCodeAt(0));
  element.remove();
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).arrayBuffer();
}

// Return ONNX Runtime Web, on one thread: a page from disk has no shared memory.
async function startRuntime() {
  const url = URL.createObjectURL(new Blob([await unpack("runtime-script")], { type: "text/javascript" }));
  const ort = await import(url);
  URL.revokeObjectURL(url);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpack("runtime-wasm");
  return ort;
}

// Return a function that runs one ONNX model: arrays `{data, dims}` by name in, arrays by name out.
async function loadGraph(ort, name) {
  const session = await ort.InferenceSession.create(new Uint8Array(await unpack(name)), {
    executionProviders: ["wasm"],
    graphOptimizationLevel: "all",
  });
  return async (inputs) => {
    const tensors = Object.entries(inputs).map(([key, { data, dims }]) => [key, new ort.Tensor("float32", data, dims)]);
    const outputs = await session.run(Object.fromEntries(tensors));
    return Object.fromEntries(Object.entries(outputs).map(([key, tensor]) => [key, tensor.data]));
  };
}
