/* What the drizzle kernel works on, and small helpers shared by its builds for several instruction sets. */

#ifndef MULTIVISIT_KERNEL_H
#define MULTIVISIT_KERNEL_H

#include <stddef.h>
#include <stdint.h>

/* Neighbouring pixels of a chip row that a lane works on; see Workspace. */
#define PART 16

/* Chip rows of a block that are accepted or rejected together: a patch. */
#define PATCH_ROWS 32

/* Most lanes that a block is divided into; see Workspace. */
#define MOST_LANES 16

/* Most pixels of one chip row that are worked on together, a block. */
#define LARGEST_BLOCK (PART * MOST_LANES)

/* Positions along a block: those of its pixels and, once more for each lane, the one behind its last. */
#define POSITIONS (LARGEST_BLOCK + MOST_LANES)

/* For arrays of vectors: those that lie across two lines of the caches are slow. */
#define ALIGNED __attribute__((aligned(64)))

/* Sides of the boxes of output pixels that the vectorised areas know; larger drops take a slow path. */
#define SMALLEST_BOX 2
#define LARGEST_BOX 8

/* Rows and columns of the parts of a chip by whose corners it is told which output pixels are touched. */
#define TOUCHED_ROWS 256
#define TOUCHED_COLUMNS 256

#define LARGEST_DEGREE 15

/* A share of a drop below this is rounding noise. */
#define SMALLEST_SHARE 1e-6f

/* Largest output coordinate, so that positions and their differences fit into 32 bits. */
#define LARGEST_POSITION 268435456.0

typedef enum { KERNEL_SQUARE, KERNEL_POINT, KERNEL_TURBO } KernelShape;

/* The arrays of multivisit.exposures.pixel_map.PixelMap. */
typedef struct {
    ptrdiff_t terms; /* degree + 1 */
    const double *coefficients; /* [axis][power of y][power of x] */
    double centre[2], half_size[2]; /* x, y */
    ptrdiff_t n_x_knots, n_y_knots; /* both 0 without a residual */
    const double *x_knots, *y_knots;
    const double *residual; /* [axis][y knot][x knot] */
} PixelMap;

typedef struct {
    ptrdiff_t rows, columns;
    const float *science;
    const float *weight; /* or NULL: then there is a mask */
    const unsigned char *mask; /* of the pixels that count, or NULL */
    float unit_weight; /* factor of the weights; weight of the pixels of a mask */
    const float *variance; /* or NULL */
    const int32_t *quality; /* or NULL */
    float factor; /* of the science values; squared of the variances */
} Chip;

/* A window of the output grid and the sums that belong to it. */
typedef struct {
    ptrdiff_t rows, columns;
    ptrdiff_t first_row, first_column; /* of the window in the grid */
    float *sums; /* [row][column][2]: sum of weight x share x value, sum of weight x share */
    int32_t *touched; /* [row][2]: columns that were added to, the first and the one after the last; or NULL */
    int32_t *context; /* or NULL */
    int32_t context_bit;
    float *variance; /* or NULL: sum of (weight x share)^2 x variance */
    int32_t *quality; /* or NULL: OR of all flags */
} Window;

typedef struct {
    KernelShape shape;
    double half_width; /* of the drop: in input pixels (square), in output pixels (turbo) */
} Drop;

/* Bounds of the map's distance from bilinear interpolation between the corners of patches, and of the parts of a
 * chip by which it is told what is touched. */
typedef struct {
    double patch, part;
} Bends;

/* Where the drops of a patch lie with respect to the window. */
typedef enum { PLACE_OUTSIDE, PLACE_CROSSING, PLACE_INSIDE } Place;

/* Positions in a patch are whole numbers of a small unit, 2^-bits output pixels, from each lane's origin: exact
 * to subtract and to compare, and quick to divide into output pixel and rest.  Those farther off than LIMIT,
 * which only maps beyond sense reach, are kept at it. */
#define LIMIT ((double)(1 << 30))
#define MOST_BITS 25

/* Polynomials in x of one chip row in small units, and the row's place among the knots. */
typedef struct {
    double coefficients[2][LARGEST_DEGREE + 1];
    ptrdiff_t knot_row;
    double knot_fraction;
} RowMap;

/* Positions x = (first column + column of a place) + offset along a block, with what does not change from row
 * to row; in the order of places, see Workspace. */
typedef struct {
    ALIGNED double argument[POSITIONS]; /* of the polynomial */
    ALIGNED ptrdiff_t knot[POSITIONS]; /* column of knots at or before the position */
    ALIGNED double knot_fraction[POSITIONS];
    ALIGNED double residual[2][POSITIONS]; /* at knot row `knot_row`, in small units */
    ALIGNED double residual_step[2][POSITIONS]; /* from there to the next knot row */
    ptrdiff_t knot_row; /* -1: not yet interpolated */
    int lanes;
} Side;

/* Everything that a thread needs for one block of pixels.
 *
 * A block is divided into as many parts of PART neighbouring columns as vectors have lanes, and the lanes work
 * on a part each.  Arrays of positions are indexed by place: place k * lanes + l is the k-th pixel of lane l's
 * part.  So the pixels of a vector are far from each other: they are added to the window one after the other
 * without waiting for each other's sums.
 */
typedef struct {
    Side sides[2], middle;
    ptrdiff_t row, first_column; /* of the block on the chip */
    int inside; /* whether all boxes of the patch lie in the window */
    ptrdiff_t anchor; /* output pixel of lane 0's origin, counted in the window */
    ptrdiff_t ahead; /* output pixels to where the pixels PREFETCH_ROWS chip rows on will fall */
    ALIGNED int32_t origin[2][MOST_LANES]; /* [axis]: output pixel of the lanes' origins, in the grid */
    ALIGNED int32_t lane_at[MOST_LANES]; /* output pixels from lane 0's origin to the others' */
    ALIGNED double shift[2][POSITIONS]; /* [axis]: from the grid's origin to the lane's, in small units */
    ALIGNED double offset[POSITIONS]; /* shift and residual together */
    ALIGNED int32_t edges[2][2][2][POSITIONS]; /* positions [edge row][side][axis] */
    ALIGNED int32_t centres[2][POSITIONS];
    ALIGNED int32_t centre_pixel[2][LARGEST_BLOCK]; /* [axis]: output pixel of the centres, in the window */
    /* Of one vector of pixels, by lane. */
    ALIGNED int32_t box[2][MOST_LANES]; /* [axis]: first output pixel of the box, from the lane's origin */
    ALIGNED int32_t at[MOST_LANES]; /* first output pixel of the box, counted from lane 0's origin */
    /* Shares by slot, see spread_shares: [row of the box][four columns][slot]. */
    ALIGNED float twice[LARGEST_BOX][LARGEST_BOX / 4][MOST_LANES][8];
    ALIGNED float once[LARGEST_BOX][LARGEST_BOX / 4][MOST_LANES][4];
    /* What pixels add for each share, in the order of columns, all 0 for pixels of weight 0. */
    ALIGNED float pair[LARGEST_BLOCK][2]; /* weight x value, weight */
    ALIGNED float variance[LARGEST_BLOCK]; /* weight^2 x variance */
    ALIGNED int32_t quality[LARGEST_BLOCK];
    ALIGNED float weight[LARGEST_BLOCK], value[LARGEST_BLOCK];
} Workspace;

/* One call: all that stays the same while a chip is added to a window. */
typedef struct {
    const PixelMap *map;
    const Chip *chip;
    const Window *window;
    const Drop *drop;
    const unsigned char *patches; /* [patch row][block column]: the Place of its drops */
    int bits; /* of the small unit */
    int side; /* of the boxes that most drops need, 2 or 3 */
    const RowMap *row_maps; /* two edge rows a chip row (square), or one middle row */
    const RowMap *middle_row_maps; /* of the pixel centres */
    ptrdiff_t edge_step; /* row maps from a chip row to the next: 1 (edges shared), 2 */
    Workspace *workspace;
} Job;

/* Fill in `row`, the map along chip row y, for a small unit of 1 / units output pixels. */
void row_map_at(const PixelMap *map, double y, double units, RowMap *row);

/* Give the output position of a position on the chip, without the residual. */
void map_position(const PixelMap *map, double x, double y, double out[2]);

/* Give the output position of a position on the chip. */
void exact_position(const PixelMap *map, double x, double y, double out[2]);

/* Give the output positions of the corners of a pixel's drop, [axis][corner]. */
void drop_corners(const PixelMap *map, const Drop *drop, double x, double y, double corners[2][4]);

/* Interpolate the residual at the side's positions at knot rows `knot_row` and the next. */
void interpolate_side(const PixelMap *map, Side *side, ptrdiff_t knot_row, double units);

/* Start a side at a block divided into lanes: positions first_column + column + offset, constant from column
 * `last_position` on. */
void start_side(const PixelMap *map, Side *side, int lanes, ptrdiff_t first_column, ptrdiff_t last_position,
                double offset);

/* Share of a quadrilateral (corners relative to corner 0) in the pixel whose lower borders are given. */
double share_of_pixel(const double x[4], const double y[4], double left, double bottom);

#endif
