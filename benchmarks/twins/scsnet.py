"""SCSNet in its paper's order: attention through PyTorch's own, CPM at full resolution."""

import torch
import torch.nn.functional as F


def conv(w, name, x, stride=1):
  return F.conv2d(x, w[f"{name}/conv/kernel"], w[f"{name}/conv/bias"], stride, padding=1)


def stack(w, name, x, blocks):
  for i in range(blocks):
    block = f"{name}/block_{i}"
    y = F.relu(conv(w, f"{block}/conv_0", x), inplace=True)
    x = x + conv(w, f"{block}/conv_1", y)
  return x


def encoder(w, name, x, blocks):
  """phi_E, Eq. 1."""
  x = stack(w, f"{name}/full", x, blocks[0])
  x = F.relu(conv(w, f"{name}/down_0", x, 2), inplace=True)
  x = stack(w, f"{name}/half", x, blocks[1])
  x = F.relu(conv(w, f"{name}/down_1", x, 2), inplace=True)
  return stack(w, f"{name}/quarter", x, blocks[2])


def linear(w, name, x):
  return F.linear(x, w[f"{name}/kernel"], w[f"{name}/bias"])


def attend(query, key, value):
  return F.scaled_dot_product_attention(query[:, None], key[:, None], value[:, None])[:, 0]


def positions(x):
  return x.flatten(2).transpose(1, 2)


def cross_attention(w, name, source, reference):
  """One VCAttn, Figure 4."""
  source_rows, rows = positions(source), positions(reference)
  key, value = linear(w, f"{name}/key", rows), linear(w, f"{name}/value", rows)
  moved = attend(linear(w, f"{name}/query", source_rows), key, value)
  both = torch.cat([source_rows, moved], -1)
  valves = linear(w, f"{name}/valve_1", F.relu(linear(w, f"{name}/valve_0", both)))
  valves = torch.sigmoid(valves)
  target = valves[..., :1] * source_rows + valves[..., 1:] * moved
  return target.transpose(1, 2).reshape(source.shape)


def pyramid(w, source, reference, levels):
  """PVCAttn, Eq. 2."""
  size, targets = source.shape[2:], []
  for level in range(levels):
    if level:
      source, reference = F.avg_pool2d(source, 2), F.avg_pool2d(reference, 2)
    here = conv(w, f"pvcattn/source_{level}", source)
    there = conv(w, f"pvcattn/reference_{level}", reference)
    target = cross_attention(w, f"pvcattn/vcattn_{level}", here, there)
    targets.append(target if level == 0 else F.interpolate(target, size, mode="bilinear"))
  return conv(w, "pvcattn/post", torch.cat(targets, 1))


def decoder(w, x, blocks):
  """phi_D: self-attention, then upsampling."""
  name, rows = "decoder/self_attention", positions(x)
  query, key, value = (linear(w, f"{name}/{part}", rows) for part in ("query", "key", "value"))
  rows = rows + w[f"{name}/gamma"] * attend(query, key, value)
  x = stack(w, "decoder/quarter", rows.transpose(1, 2).reshape(x.shape), blocks[2])
  x = F.relu(conv(w, "decoder/up_0", F.interpolate(x, scale_factor=2)), inplace=True)
  x = stack(w, "decoder/half", x, blocks[1])
  x = F.relu(conv(w, "decoder/up_1", F.interpolate(x, scale_factor=2)), inplace=True)
  return stack(w, "decoder/full", x, blocks[0])


def pixel_mapping(w, x, size):
  """CPM, Figure 6: the interpolated feature and Eq. 3's coordinates through four linear layers."""
  main = F.interpolate(x, size, mode="bilinear", align_corners=True)
  places = []
  for cells, pixels in zip(x.shape[2:], size, strict=True):
    centre = (torch.arange(pixels, dtype=torch.float64) + 0.5) / pixels
    places.append(((centre * cells) % 1 * 2 - 1).float())
  down, across = torch.meshgrid(*places, indexing="ij")
  coordinates = torch.stack([down, across])[None].expand(len(x), -1, -1, -1)
  x, last = torch.cat([main, coordinates], 1), 3
  for i in range(last + 1):
    x = F.conv2d(x, w[f"cpm/kernel_{i}"].T[:, :, None, None], w[f"cpm/bias_{i}"])
    x = F.relu(x, inplace=True) if i < last else x
  return x


def forward(w, gray, reference, size, net):
  """Computes normalised Lab [N, 3, *size] from L [N, 1, H, W] and Lab [N, 3, Hr, Wr], or None.

  `net`: holds the paper's block counts, by the names of SCSNet's config.
  """
  initial = F.relu(conv(w, "initial", gray), inplace=True)
  color = encoder(w, "source_encoder", initial, net.source_blocks)
  if reference is not None:
    seen = F.relu(conv(w, "reference_initial", reference), inplace=True)
    seen = encoder(w, "reference_encoder", seen, net.reference_blocks)
    color = pyramid(w, color, seen, net.levels)
  color = decoder(w, color, net.decoder_blocks)
  texture = stack(w, "texture_encoder", initial, net.texture_blocks)
  return pixel_mapping(w, conv(w, "fusion", torch.cat([color, texture], 1)), size)
