// Downloads. The files are made here: the server keeps nothing.
import {bitmap} from "./draw.js";

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

function stem(name) {
  return name.replace(/\.[^.]*$/, "") || "image";
}

// White where any of the masks is.
export async function png(name, masks) {
  const image = bitmap(masks), canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d").putImageData(image, 0, 0);
  download(await canvas.convertToBlob({type: "image/png"}), `${stem(name)}-mask.png`);
}

// Masks come as annotations; only what the page has added is left out.
function annotation({runs, key, picture, ...record}, i) {
  return {...record, id: i + 1};
}

export function coco(name, width, height, masks) {
  const file = {
    images: [{id: 1, file_name: name, width, height}],
    categories: [{id: 1, name: "object"}],
    annotations: masks.map(annotation),
  };
  download(new Blob([JSON.stringify(file)], {type: "application/json"}), `${stem(name)}-coco.json`);
}
