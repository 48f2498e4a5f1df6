//! Tests of decoding: each form of output, against boxes worked out by hand.

use super::*;

const OPTIONS: BoxOptions = BoxOptions { min_score: 0.5, max_overlap: 0.5, limit: 8 };
/// A frame of 200 x 100 at half size, 10 pixels below the input's top.
const MAP: Letterbox = Letterbox { scale: [0.5, 0.5], offset: [0.0, 10.0] };
const INPUT: (u32, u32) = (100, 80);

fn contract() -> BoxContract {
    BoxContract {
        format: BoxFormat::Xyxy,
        units: BoxUnits::Pixels,
        grids: Vec::new(),
        score_kind: ScoreKind::Single,
        score_form: ScoreForm::Probability,
        person: 0,
        suppressed: false,
    }
}

const fn output<'a>(name: &'a str, dims: &'a [usize], values: &'a [f32]) -> Output<'a> {
    Output { name, dims, values }
}

const fn outputs<'a>(boxes: Columns<'a>, scores: Columns<'a>) -> BoxOutputs<'a> {
    BoxOutputs { boxes, scores, objectness: None, classes: None, frames: None, count: None }
}

/// Columns of one output, from this one on.
const fn from<'a>(output: Output<'a>, first: usize) -> Columns<'a> {
    Columns { output, first, candidates_last: false }
}

/// The people of the only frame.
fn decode(contract: &BoxContract, outputs: &BoxOutputs<'_>) -> Vec<PersonBox> {
    Boxes::new(contract, 1, INPUT, outputs).unwrap().decode(0, &MAP, &OPTIONS).unwrap()
}

/// Decodes boxes with a score each.
fn single(contract: &BoxContract, boxes: &[f32], scores: &[f32]) -> Vec<PersonBox> {
    let dims = [1, boxes.len() / 4, 4];
    decode(contract, &outputs(Columns::all(output("boxes", &dims, boxes)), Columns::all(output("scores", &dims[..2], scores))))
}

fn scores(people: &[PersonBox]) -> Vec<f32> {
    people.iter().map(|p| p.score).collect()
}

/// Fails unless that is the one person, in the box (20, 40)-(60, 100) of the frame.
fn is_the_box(found: &[PersonBox], what: &str) {
    let [PersonBox { bbox, keypoints: None, .. }] = found else { panic!("{what}: {found:?}") };
    let edges = [bbox.x0, bbox.y0, bbox.x1, bbox.y1];
    assert!(edges.iter().zip([20.0, 40.0, 60.0, 100.0]).all(|(a, b)| (a - b).abs() < 1e-3), "{what}: {bbox:?}");
}

#[test]
fn every_format_names_the_same_box() {
    for (format, units, numbers) in [
        (BoxFormat::Xyxy, BoxUnits::Pixels, [10.0, 30.0, 30.0, 60.0]),
        (BoxFormat::Yxyx, BoxUnits::Pixels, [30.0, 10.0, 60.0, 30.0]),
        (BoxFormat::Xywh, BoxUnits::Pixels, [10.0, 30.0, 20.0, 30.0]),
        (BoxFormat::CxCyWh, BoxUnits::Pixels, [20.0, 45.0, 20.0, 30.0]),
        (BoxFormat::Xyxy, BoxUnits::Normalized, [0.1, 0.375, 0.3, 0.75]),
        (BoxFormat::Xywh, BoxUnits::Normalized, [0.1, 0.375, 0.2, 0.375]),
        (BoxFormat::CxCyWh, BoxUnits::Normalized, [0.2, 0.5625, 0.2, 0.375]),
    ] {
        is_the_box(&single(&BoxContract { format, units, ..contract() }, &numbers, &[0.9]), &format!("{format:?} {units:?}"));
    }
}

#[test]
fn raw_boxes_are_of_the_cell_of_their_candidate() {
    // 100 x 80 has 5 x 4 cells of 20 pixels and 2 x 2 of 40
    let contract = BoxContract { format: BoxFormat::CxCyWh, grids: vec![20, 40], ..contract() };
    let mut boxes = vec![0.0; 24 * 4];
    let mut scores = [0.0; 24];
    // the second row's second cell begins at (20, 20): centre (20, 45) is 0 and 1.25 cells away; 20 and 30 pixels are 1 and 1.5 cells
    boxes[6 * 4..7 * 4].copy_from_slice(&[0.0, 1.25, 0.0, 1.5f32.ln()]);
    scores[6] = 0.9;
    let dims = [1, 24, 4];
    let found = Columns::all(output("boxes", &dims, &boxes));
    is_the_box(&decode(&contract, &outputs(found, Columns::all(output("scores", &dims[..2], &scores)))), "fine");
    // the coarse grid's second cell begins at (40, 0)
    boxes[21 * 4..22 * 4].copy_from_slice(&[-0.5, 1.125, 0.5f32.ln(), 0.75f32.ln()]);
    (scores[6], scores[21]) = (0.0, 0.9);
    let found = Columns::all(output("boxes", &dims, &boxes));
    is_the_box(&decode(&contract, &outputs(found, Columns::all(output("scores", &dims[..2], &scores)))), "coarse");
    let few = outputs(Columns::all(output("boxes", &[1, 1, 4], &[0.0; 4])), Columns::all(output("scores", &[1, 1], &[0.9])));
    let fault = Boxes::new(&contract, 1, INPUT, &few).unwrap_err();
    assert_eq!(fault, DetectError::Cells { grids: vec![20, 40], cells: 24, candidates: 1 });
}

#[test]
fn one_output_holds_boxes_and_scores_of_classes() {
    // two candidates and two classes as YOLOv8 has them: a row is a column, a column a candidate
    let values = [20.0, 70.0, 45.0, 40.0, 20.0, 20.0, 30.0, 30.0, 0.9, 0.2, 0.1, 0.8];
    let dims = [1, 6, 2];
    let last = |first| Columns { candidates_last: true, ..from(output("output0", &dims, &values), first) };
    let contract = BoxContract { format: BoxFormat::CxCyWh, score_kind: ScoreKind::PerClass { classes: None }, ..contract() };
    is_the_box(&decode(&contract, &outputs(last(0), last(4))), "YOLOv8");
    let dog = BoxContract { person: 1, ..contract };
    assert_eq!(scores(&decode(&dog, &outputs(last(0), last(4)))), [0.8]);
}

#[test]
fn objectness_times_class_is_the_score() {
    // as YOLOv5 has them: box, objectness, classes, and a mask's coefficient that is none of them
    let values = [20.0, 45.0, 20.0, 30.0, 0.9, 0.8, 0.1, 7.0, 70.0, 40.0, 20.0, 30.0, 0.5, 0.9, 0.1, 7.0];
    let output = output("output0", &[1, 2, 8], &values);
    let mut all = outputs(from(output, 0), from(output, 5));
    all.objectness = Some(from(output, 4));
    let contract = BoxContract { format: BoxFormat::CxCyWh, score_kind: ScoreKind::PerClass { classes: Some(2) }, ..contract() };
    let found = decode(&contract, &all);
    is_the_box(&found, "YOLOv5");
    assert!((found[0].score - 0.72).abs() < 1e-6, "the other one is worth 0.45: {found:?}");
}

#[test]
fn logits_become_probabilities() {
    let boxes = [10.0, 30.0, 30.0, 60.0];
    let logit = BoxContract { score_form: ScoreForm::Logit, ..contract() };
    assert!((single(&logit, &boxes, &[2.0])[0].score - 0.880_797).abs() < 1e-5);
    assert!(single(&logit, &boxes, &[-0.1]).is_empty(), "below a half");
    // as DETR has them: a softmax over person, dog and nothing
    let softmax = BoxContract { score_form: ScoreForm::Softmax, score_kind: ScoreKind::PerClass { classes: None }, ..contract() };
    let with = |logits: &[f32]| {
        decode(&softmax, &outputs(Columns::all(output("boxes", &[1, 1, 4], &boxes)), Columns::all(output("logits", &[1, 1, 3], logits))))
    };
    assert!((with(&[2.0, 1.0, 0.0])[0].score - 0.665_241).abs() < 1e-5);
    assert!(with(&[2.0, 1.0, 4.0]).is_empty());
    assert_eq!(with(&[300.0, 1.0, 0.0])[0].score, 1.0, "no overflow");
    assert!(with(&[-300.0, 1.0, 300.0]).is_empty());
}

#[test]
fn overlapping_boxes_are_dropped_here_unless_the_network_has_done_it() {
    let boxes = [10.0, 20.0, 30.0, 60.0, 11.0, 20.0, 31.0, 60.0, 50.0, 20.0, 70.0, 60.0];
    let all = [0.6, 0.8, 0.7];
    assert_eq!(scores(&single(&contract(), &boxes, &all)), [0.8, 0.7]);
    assert_eq!(scores(&single(&BoxContract { suppressed: true, ..contract() }, &boxes, &all)), [0.8, 0.7, 0.6]);
}

#[test]
fn only_people_count_and_only_sure_ones_and_only_so_many() {
    let boxes = [10.0, 20.0, 30.0, 60.0, 50.0, 20.0, 70.0, 60.0, 80.0, 20.0, 90.0, 60.0];
    let mut all = outputs(Columns::all(output("boxes", &[3, 4], &boxes)), Columns::all(output("scores", &[3], &[0.9, 0.9, 0.5])));
    all.classes = Some(Columns::all(output("labels", &[3], &[17.0, 0.0, 0.0])));
    let found = decode(&contract(), &all);
    assert_eq!(found.len(), 1, "a dog and a doubtful one: {found:?}");
    assert_eq!(found[0].bbox.x0, 100.0);
    let heads = single(&contract(), &boxes, &[0.7, 0.8, 0.9]);
    assert_eq!(scores(&heads), [0.9, 0.8, 0.7]);
    let dims = [1, 3, 4];
    let all = outputs(Columns::all(output("boxes", &dims, &boxes)), Columns::all(output("scores", &dims[..2], &[0.7, 0.8, 0.9])));
    let contract = contract();
    let heads = Boxes::new(&contract, 1, INPUT, &all).unwrap();
    assert_eq!(scores(&heads.decode(0, &MAP, &BoxOptions { limit: 2, ..OPTIONS }).unwrap()), [0.9, 0.8]);
}

#[test]
fn frames_of_a_batch_are_apart() {
    let boxes = [10.0, 20.0, 30.0, 60.0, 50.0, 20.0, 70.0, 60.0];
    let all = outputs(Columns::all(output("boxes", &[2, 1, 4], &boxes)), Columns::all(output("scores", &[2, 1], &[0.9, 0.7])));
    let contract = contract();
    let heads = Boxes::new(&contract, 2, INPUT, &all).unwrap();
    assert_eq!(scores(&heads.decode(1, &MAP, &OPTIONS).unwrap()), [0.7]);
    assert_eq!(heads.decode(2, &MAP, &OPTIONS), Err(DetectError::Frame { index: 2, len: 2 }));
    let nothing = outputs(Columns::all(output("boxes", &[3, 0, 4], &[])), Columns::all(output("scores", &[3, 0], &[])));
    assert!(Boxes::new(&contract, 3, INPUT, &nothing).unwrap().decode(2, &MAP, &OPTIONS).unwrap().is_empty());
}

#[test]
fn one_list_of_rows_says_of_which_frame_each_is() {
    // frame, box, class, score, as YOLOv7 ends with its own suppression
    let rows = [1.0, 10.0, 20.0, 30.0, 60.0, 0.0, 0.9, 0.0, 50.0, 20.0, 70.0, 60.0, 0.0, 0.7, 1.0, 80.0, 20.0, 90.0, 60.0, 2.0, 0.8];
    let contract = BoxContract { suppressed: true, ..contract() };
    for dims in [&[3, 7][..], &[1, 3, 7], &[1, 1, 3, 7]] {
        let output = output("output", dims, &rows);
        let mut all = outputs(from(output, 1), from(output, 6));
        (all.frames, all.classes) = (Some(from(output, 0)), Some(from(output, 5)));
        let heads = Boxes::new(&contract, 2, INPUT, &all).unwrap();
        assert_eq!([0, 1].map(|f| scores(&heads.decode(f, &MAP, &OPTIONS).unwrap())), [[0.7], [0.9]], "{dims:?}");
    }
}

#[test]
fn rows_beyond_the_count_are_nothing() {
    let boxes = [10.0, 20.0, 30.0, 60.0, 50.0, 20.0, 70.0, 60.0];
    let dims = [1, 2, 4];
    let with = |count: &[f32]| {
        let mut all = outputs(Columns::all(output("boxes", &dims, &boxes)), Columns::all(output("scores", &dims[..2], &[0.7, 0.9])));
        all.count = Some(output("num_dets", &[1, 1], count));
        scores(&decode(&contract(), &all))
    };
    assert_eq!((with(&[1.0]), with(&[9.0])), (vec![0.7], vec![0.9, 0.7]));
    assert!(with(&[-1.0]).is_empty() && with(&[f32::NAN]).is_empty());
}

#[test]
fn what_does_not_fit_is_named() {
    let boxes = [10.0, 20.0, 30.0, 60.0];
    let fault = |contract: &BoxContract, frames: usize, dims: &[usize], scores: Output<'_>| {
        Boxes::new(contract, frames, INPUT, &outputs(Columns::all(output("boxes", dims, &boxes)), Columns::all(scores))).unwrap_err()
    };
    let shape = |fault: DetectError| matches!(fault, DetectError::Shape { .. });
    assert!(shape(fault(&contract(), 1, &[1, 1, 4], output("scores", &[1, 2], &[0.1, 0.2]))), "as many scores as boxes");
    assert!(shape(fault(&contract(), 2, &[1, 1, 4], output("scores", &[1, 1], &[0.1]))), "a row for each frame");
    assert!(shape(fault(&contract(), 2, &[1, 4], output("scores", &[1], &[0.1]))), "two frames in one list need a column of frames");
    let per_class = BoxContract { person: 3, score_kind: ScoreKind::PerClass { classes: None }, ..contract() };
    let two = fault(&per_class, 1, &[1, 1, 4], output("scores", &[1, 1, 2], &[0.1, 0.2]));
    assert_eq!(two, DetectError::Class { person: 3, classes: 2 });
    let five = BoxContract { score_kind: ScoreKind::PerClass { classes: Some(5) }, ..per_class };
    let two = fault(&five, 1, &[1, 1, 4], output("scores", &[1, 1, 2], &[0.1, 0.2]));
    assert_eq!(two, DetectError::Column { name: "scores".into(), columns: 2, column: 4 });
    let logits = outputs(Columns::all(output("boxes", &[1, 1, 4], &boxes)), Columns::all(output("scores", &[1, 1], &[4.2])));
    let contract = contract();
    let logits = Boxes::new(&contract, 1, INPUT, &logits).unwrap().decode(0, &MAP, &OPTIONS).unwrap_err();
    assert!(logits.to_string().contains("a score is 4.2") && logits.to_string().contains("score_form"), "{logits}");
    assert!(single(&contract, &[f32::NAN; 4], &[0.9]).is_empty());
}
