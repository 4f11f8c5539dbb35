export interface Shape {
  group: string;
  size: number;
  at: [x: number, y: number, z: number];
}

export const palette = ["#f26711", "#3b6ea5", "#7aa95c", "#b0508e"] as const;
