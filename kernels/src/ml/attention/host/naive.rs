//! Attention on the host with all scores in memory.

use super::{
    Head, Room, dot, exponentials, gradients, largest, multiply_row, of_head, parts, sized,
};
use crate::buffer::Buffers;
use crate::device::Team;
use crate::matrix::{Matrix, MatrixMut, Store, multiply};
use crate::ml::attention::{Attention, Given};

/// The forward pass with all scores in memory: `kept` gets the probabilities of every head.
pub fn naive(shape: &Attention, given: Given, team: &Team, buffers: &mut Buffers) {
    let table = given
        .table
        .map(|table| buffers.0[table].get::<f32>().to_vec());
    let [q, k, v, out, kept] = buffers.many([given.q, given.k, given.v, given.out, given.kept]);
    let inputs = [q.get::<f32>(), k.get(), v.get()];
    let (length, width) = (shape.length, shape.head_width());
    let out = parts(shape, out.get_mut(), width, length.max(1));
    let kept = kept.get_mut::<f32>().chunks_mut((length * length).max(1));
    let tasks = out.into_iter().zip(kept).enumerate().collect();
    team.deal_with(tasks, Room::default, |room, (index, (mut out, p))| {
        let head = Head::new(shape, inputs, table.as_deref(), index);
        let (query, keys) = (
            sized(&mut room.query, length * width),
            sized(&mut room.keys, length * width),
        );
        head.gather(query, head.q, 0..length, head.scale());
        head.gather(keys, head.k, 0..length, 1.0);
        let (query, keys) = (
            Matrix::whole(query, length, width),
            Matrix::whole(keys, length, width),
        );
        multiply(
            &mut MatrixMut::whole(p, length, length),
            query,
            keys.transposed(),
            Store::Set,
        );
        for (query, row) in p.chunks_exact_mut(length).enumerate() {
            let seen = head.finish_scores(row, query, 0);
            row[seen..].fill(0.0);
            let row = &mut row[..seen];
            let sum = exponentials(row, largest(row, f32::NEG_INFINITY));
            multiply_row(row, 1.0 / sum);
        }
        multiply(
            &mut out,
            Matrix::whole(p, length, length),
            head.v,
            Store::Set,
        );
    });
}

/// The backward pass with all gradients of scores in memory, in `work`.
pub fn naive_backward(
    shape: &Attention,
    given: Given,
    d_out: usize,
    [dq, dk, dv, work]: [usize; 4],
    team: &Team,
    buffers: &mut Buffers,
) {
    let table = given
        .table
        .map(|table| buffers.0[table].get::<f32>().to_vec());
    let Given { q, k, v, kept, .. } = given;
    let [q, k, v, kept, d_out, dq, dk, dv, work] =
        buffers.many([q, k, v, kept, d_out, dq, dk, dv, work]);
    let inputs = [q.get::<f32>(), k.get(), v.get()];
    let (kept, d_out) = (kept.get::<f32>(), d_out.get::<f32>());
    let (length, width) = (shape.length, shape.head_width());
    let [dq, dk, dv] = [dq, dk, dv].map(|d| parts(shape, d.get_mut(), width, length.max(1)));
    let of_scores = (length * length).max(1);
    let scores = work
        .get_mut::<f32>()
        .chunks_mut(of_scores)
        .zip(kept.chunks(of_scores));
    let tasks = dq
        .into_iter()
        .zip(dk)
        .zip(dv)
        .zip(scores)
        .enumerate()
        .collect();
    team.deal_with(
        tasks,
        Room::default,
        |room, (index, (((mut dq, mut dk), mut dv), (ds, p)))| {
            let head = Head::new(shape, inputs, table.as_deref(), index);
            let d_out = of_head(shape, d_out, index);
            multiply(
                &mut MatrixMut::whole(ds, length, length),
                d_out,
                head.v.transposed(),
                Store::Set,
            );
            let probabilities = Matrix::whole(p, length, length);
            multiply(&mut dv, probabilities.transposed(), d_out, Store::Set);
            for (dp, p) in ds.chunks_exact_mut(length).zip(p.chunks_exact(length)) {
                let sum = dot(dp, p);
                gradients(dp, p, sum, head.scale());
            }
            let ds = Matrix::whole(ds, length, length);
            for (d, from, ds) in [(&mut dq, head.k, ds), (&mut dk, head.q, ds.transposed())] {
                let other = sized(&mut room.keys, length * width);
                head.gather(other, from, 0..length, 1.0);
                let other = Matrix::whole(other, length, width);
                let mut turned =
                    MatrixMut::whole(sized(&mut room.d_keys, length * width), length, width);
                multiply(&mut turned, ds, other, Store::Set);
                (0..length).for_each(|row| head.rotated(turned.row(row), row, d.row(row), -1.0));
            }
        },
    );
}
