// A small project that pulls in a lot: what esbuild has to parse, link and minify here is some
// 700 modules. It is bundled, compared and never run.
import * as THREE from "three";
import { createRoot } from "react-dom/client";
import { createElement, useMemo, useState } from "react";
import * as d3 from "d3";
import _ from "lodash-es";
import { fromEvent, interval, merge } from "rxjs";
import { debounceTime, map, scan, takeUntil } from "rxjs/operators";
import { palette, type Shape } from "./shapes";

const scene = new THREE.Scene();
const camera = new THREE.PerspectiveCamera(60, innerWidth / innerHeight, 0.1, 100);
const renderer = new THREE.WebGLRenderer({ antialias: true });

/** Turns the data's shapes into meshes, one colour for each group. */
function meshes(shapes: Shape[]): THREE.Mesh[] {
  const groups = _.groupBy(shapes, (shape) => shape.group);
  const colour = d3.scaleOrdinal(palette).domain(_.keys(groups));
  return _.flatMap(groups, (members, group) =>
    _.map(members, ({ size, at }) => {
      const material = new THREE.MeshStandardMaterial({ color: colour(group) });
      const mesh = new THREE.Mesh(new THREE.BoxGeometry(size, size, size), material);
      mesh.position.set(...at);
      return mesh;
    }),
  );
}

function Legend({ shapes }: { shapes: Shape[] }) {
  const [chosen, choose] = useState<string | null>(null);
  const counts = useMemo(() => d3.rollup(shapes, (of) => of.length, (shape) => shape.group), [shapes]);
  return createElement(
    "ul",
    { className: "legend" },
    Array.from(counts, ([group, count]) =>
      createElement(
        "li",
        { key: group, onClick: () => choose(group), "aria-selected": group === chosen },
        `${group}: ${d3.format(",")(count)}`,
      ),
    ),
  );
}

async function start() {
  const { default: shapes } = await import("./data");
  scene.add(...meshes(shapes), new THREE.AmbientLight(0xffffff, 0.4));
  document.body.append(renderer.domElement);
  const stop = fromEvent(window, "pagehide");
  merge(
    interval(16).pipe(map(() => 1)),
    fromEvent(window, "resize").pipe(debounceTime(100), map(() => 0)),
  )
    .pipe(scan((sum, step) => sum + step, 0), takeUntil(stop))
    .subscribe((frame) => {
      scene.rotation.y = frame / 100;
      renderer.render(scene, camera);
    });
  createRoot(document.getElementById("legend")!).render(createElement(Legend, { shapes }));
}

start().catch((why) => console.error(`no scene: ${why?.message ?? why}`));
