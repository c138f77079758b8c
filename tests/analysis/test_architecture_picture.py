"""The picture of a network's stages."""

from small_networks import small_big_little, thin_resnet

from tfnets.analysis import architecture_picture, flops
from tfnets.analysis.figures import drawing


def test_branches_stand_side_by_side_and_what_follows_reads_both():
    boxes = architecture_picture.layout(flops.stages(flops.cost(small_big_little(), 64)))
    place = {box.stage.name: (box.row, box.column) for box in boxes}
    for stage in ('stem', 'stage1', 'stage2', 'stage3'):
        little, big = place[f'{stage}.little'], place[f'{stage}.big']
        assert little[0] == big[0]
        assert little[1] < 0 < big[1]
        assert place[f'{stage}.merge'] == (big[0] + 1, 0)
    pairs = {
        (above.stage.name, below.stage.name) for above, below in architecture_picture.arrows(boxes)
    }
    assert {
        ('stem.init', 'stage1.little'),
        ('stem.init', 'stage1.big'),
        ('stage1.little', 'stage1.merge'),
        ('stage1.big', 'stage1.merge'),
        ('stage1.fusion', 'stage2.big'),
    } <= pairs
    assert ('stem.init', 'stage1.merge') not in pairs


def test_a_plain_network_is_one_column(tmp_path):
    cost = flops.cost(thin_resnet(), 64)
    boxes = architecture_picture.layout(flops.stages(cost))
    assert [box.row for box in boxes] == list(range(len(boxes)))
    assert {box.column for box in boxes} == {0}
    with drawing(tmp_path / 'x.png', (7, architecture_picture.height(cost))) as axes:
        architecture_picture.draw(axes, 'thin', cost)
        texts = [text.get_text() for text in axes.texts]
    assert 'stage4: 2 x 2 x 256' in texts
    assert 'trainable parameters' in axes.get_title()
